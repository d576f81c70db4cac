// Uses the console as a person does, in a real browser, and takes screenshots.
//
//   node console.mjs URL TOKEN FOLDER
//
// The machine behind URL has served requests of shop/alice and shop/bob, and bob has used up his quota.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import AxeBuilder from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [url, token, folder] = process.argv.slice(2);
assert(url && token && folder, "usage: node console.mjs URL TOKEN FOLDER");

const profile = await mkdtemp(join(tmpdir(), "console-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
  viewport: { width: 1280, height: 900 },
});

const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(`page error: ${error.message}`));

async function accessible(name) {
  const result = await new AxeBuilder({ page }).analyze();
  const found = result.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], `${name} is accessible`);
}

async function shot(name) {
  const text = await page.locator("body").innerText();
  assert(!/NaN|undefined|Invalid/.test(text), `${name} shows what it does not know: ${text}`);
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

async function signsIn() {
  await page.goto(url);
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The token is not right.").waitFor();
  await accessible("signing in");
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  assert(!page.url().includes(token), "the token is not in the address");
}

async function overviewIsLive() {
  await page.getByText("Requests per second").waitFor();
  await page.getByRole("region", { name: "Top consumers, table" }).getByText("Alice").waitFor();
  await accessible("overview");
  await shot("overview-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible("overview, dark");
  await shot("overview-dark");
  await page.emulateMedia({ colorScheme: "light" });
}

async function consumerByKeyboard() {
  await page.getByRole("link", { name: "Consumers" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Consumers" }).waitFor();
  await accessible("consumers");
  await shot("consumers");
  await page.getByRole("link", { name: /Bob/ }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: /Bob/ }).waitFor();
  const meter = page.getByRole("meter").first();
  await meter.waitFor();
  assert.equal(await meter.getAttribute("aria-valuetext"), "100 % used");
  await page.getByText("quota_exceeded").waitFor();
  await accessible("a consumer");
  await shot("consumer");
}

async function alertsAndPipeline() {
  await page.getByRole("link", { name: "Alerts" }).click();
  await page.getByText("100 %").first().waitFor();
  await accessible("alerts");
  await shot("alerts");
  await page.getByRole("link", { name: "Pipeline" }).click();
  await page.getByText("Records lost").waitFor();
  assert.equal(await page.locator(".tile", { hasText: "Records lost" }).locator("dd").innerText(), "0");
  await accessible("pipeline");
  await shot("pipeline");
}

try {
  await signsIn();
  await overviewIsLive();
  await consumerByKeyboard();
  await alertsAndPipeline();
  assert.deepEqual(problems, []);
  console.log("console: all pages work, are accessible, by keyboard and in both modes");
} catch (error) {
  await page.screenshot({ path: join(folder, "failure.png"), fullPage: true }).catch(() => {});
  throw error;
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}

// The frame: navigation, the page that the address names, and signing in.

import { useEffect, useState } from "react";

import { type Live, Refused, signedIn, signOut, useFresh } from "./api";
import { AlertsPage } from "./pages/AlertsPage";
import { ConsumerPage } from "./pages/ConsumerPage";
import { Consumers } from "./pages/Consumers";
import { Overview } from "./pages/Overview";
import { PipelinePage } from "./pages/PipelinePage";
import { SignIn } from "./pages/SignIn";

const PAGES = [
  ["#/", "Overview"],
  ["#/consumers", "Consumers"],
  ["#/alerts", "Alerts"],
  ["#/pipeline", "Pipeline"],
] as const;

function useAddress(): string {
  const [address, setAddress] = useState(location.hash || "#/");
  useEffect(() => {
    const changed = () => setAddress(location.hash || "#/");
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return address;
}

function page(address: string) {
  const consumer = /^#\/consumers\/(.+)$/.exec(address);
  if (consumer?.[1]) return <ConsumerPage name={decodeURIComponent(consumer[1])} />;
  if (address === "#/consumers") return <Consumers />;
  if (address === "#/alerts") return <AlertsPage />;
  if (address === "#/pipeline") return <PipelinePage />;
  return <Overview />;
}

function Frame({ refused }: { refused: (message: string) => void }) {
  const address = useAddress();
  const { data, error } = useFresh<Live>("/v1/live", 5000);
  useEffect(() => {
    if (error instanceof Refused) refused(error.message);
  }, [error, refused]);
  return (
    <>
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        Skip to content
      </a>
      <header>
        <span className="brand">Turnpike</span>
        <nav aria-label="Pages">
          {PAGES.map(([target, title]) => (
            <a key={target} href={target} aria-current={address === target ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <span className="muted">{data ? `${data.gateways} gateway${data.gateways === 1 ? "" : "s"}` : ""}</span>
        <button type="button" onClick={() => refused("Signed out.")}>
          Sign out
        </button>
      </header>
      <main id="main" tabIndex={-1}>
        {page(address)}
      </main>
    </>
  );
}

export function App() {
  const [inside, setInside] = useState(signedIn());
  const [message, setMessage] = useState<string | null>(null);
  if (!inside) return <SignIn message={message} done={() => setInside(true)} />;
  const refused = (text: string) => {
    signOut();
    setMessage(text);
    setInside(false);
  };
  return <Frame refused={refused} />;
}

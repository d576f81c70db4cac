// A WebSocket through the gateway at ADDRESS that says something ten times a second and must hear it again within five
// seconds: node --experimental-websocket socket.cjs ADDRESS KEY (once | FILE), until the file exists. Exit code 1: it broke.
const dns = require('dns');
const fs = require('fs');

const [address, key, until] = process.argv.slice(2);
// The name is known to nobody but the Gateway.
dns.lookup = (_name, options, done) => done(null, options.all ? [{ address, family: 4 }] : address, 4);

const socket = new WebSocket('ws://socket.example.com:8080/ws', { headers: { 'x-api-key': key, origin: 'http://socket.example.com' } });
let said = 0;
let heard = 0;
function end(code, text) {
  console.log(text);
  process.exit(code);
}
const silence = setTimeout(() => end(1, `no answer to message ${said}`), 5000);
socket.onmessage = ({ data }) => {
  heard += 1;
  if (data !== String(heard)) end(1, `message ${heard} came back as ${data}`);
  silence.refresh();
  if (until === 'once' || fs.existsSync(until)) end(0, `${heard} messages, all answered`);
};
socket.onerror = ({ message }) => end(1, `error: ${message}`);
socket.onclose = ({ code }) => end(1, `closed with ${code} after ${heard} messages`);
socket.onopen = () => setInterval(() => socket.send(String((said += 1))), 100);

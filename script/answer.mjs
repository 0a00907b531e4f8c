// Reads a stack's outputs as JSON from standard input, waits until its URLs answer, and prints them.
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const timeoutMs = 60_000;
const answerTimeoutMs = 5_000;
const outputs = JSON.parse(await text(process.stdin));
const urls = Object.entries(outputs.urls).filter(([, url]) => url.startsWith("http"));

const started = Date.now();
const failures = (await Promise.all(urls.map(([, url]) => answers(url)))).filter(
  (failure) => failure !== undefined,
);
if (failures.length > 0) {
  console.error(
    `error: ${failures.join("\n       ")}\n       To find out why: docker logs rest; docker service ls`,
  );
  process.exit(1);
}
const pages = {
  ...outputs.urls,
  routes: `${outputs.admin}  (on the node)`,
  statistics: `${outputs.statistics}  (user and password: script/outputs --show-secrets)`,
  consul: `${outputs.consulPage}  (token: script/outputs --show-secrets)`,
};
const width = Math.max(...Object.keys(pages).map((name) => name.length)) + 2;
console.log("");
for (const [name, url] of Object.entries(pages)) console.log(`  ${name.padEnd(width)}${url}`);

/** Returns undefined once the URL answers with a 2xx status, or its last failure after `timeoutMs`. */
async function answers(url) {
  for (;;) {
    let failure;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(answerTimeoutMs) });
      if (response.ok) return undefined;
      failure = `answers ${response.status}`;
    } catch (error) {
      failure = `does not answer (${error.cause?.code ?? error.message})`;
    }
    if (Date.now() - started > timeoutMs) return `${url} still ${failure} after ${timeoutMs / 1000} s.`;
    await sleep(100);
  }
}

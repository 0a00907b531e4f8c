// Reads a stack's outputs (JSON) from standard input, waits until its URLs answer, and prints them.
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const patience = 60_000;
const outputs = JSON.parse(await text(process.stdin));
const urls = Object.entries(outputs.urls).filter(([, url]) => url.startsWith("http"));

const started = Date.now();
const silent = (await Promise.all(urls.map(([, url]) => answers(url)))).filter(
  (failure) => failure !== undefined,
);
if (silent.length > 0) {
  console.error(`error: ${silent.join("\n       ")}\n       See why: docker logs rest, docker service ls`);
  process.exit(1);
}
const pages = {
  ...outputs.urls,
  routes: `${outputs.admin}  (on the node)`,
  statistics: `${outputs.statistics}  (user and password: script/outputs --show-secrets)`,
  consul: outputs.consulPage,
};
const width = Math.max(...Object.keys(pages).map((name) => name.length)) + 2;
console.log("");
for (const [name, url] of Object.entries(pages)) console.log(`  ${name.padEnd(width)}${url}`);

/** Nothing once the URL answers with success; what it last said when that takes too long. */
async function answers(url) {
  for (;;) {
    let said;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
      if (response.ok) return undefined;
      said = `answers ${response.status}`;
    } catch (error) {
      said = `does not answer (${error.cause?.code ?? error.message})`;
    }
    if (Date.now() - started > patience) return `${url} ${said} after ${patience / 1000} s.`;
    await sleep(100);
  }
}

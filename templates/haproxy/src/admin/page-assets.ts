/** The page's style and script, served as files because the page's content security policy forbids inline ones. */

export const pageCss = `:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #fff; --line: #dfe3e8; --text: #1b2430; --soft: #5b6776; --link: #0b5cad;
  --up: #11703c; --up-bg: #dcf3e4; --down: #a61b1b; --down-bg: #fde3e1; --wait: #7a5200; --wait-bg: #fcefcf;
  --idle: #4c5866; --idle-bg: #e8ebef;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12161c; --card: #1a2028; --line: #2c3540; --text: #e4e9ef; --soft: #98a4b3; --link: #7db7f5;
    --up: #7fdca4; --up-bg: #173a27; --down: #ff9d94; --down-bg: #4a1f1d; --wait: #f0c96a; --wait-bg: #41330f;
    --idle: #b3bdc9; --idle-bg: #2a323c;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 3rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code { font: 0.92em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: center; justify-content: space-between; }
h1 { font-size: 1.4rem; margin: 0.4rem 0; letter-spacing: -0.01em; }
h1 small, h3 small { color: var(--soft); font-weight: normal; font-size: 0.85rem; letter-spacing: 0; }
#state { position: absolute; margin: 0; clip-path: inset(50%); }
#silence { margin: 0.75rem 0 0; padding: 0.6rem 0.9rem; border-radius: 10px; font-weight: 600; color: var(--down);
  background: var(--down-bg); }
#silence:empty { display: none; }
#silence:not(:empty) ~ main { filter: grayscale(1); opacity: 0.6; }
h2 { font-size: 1.05rem; margin: 2rem 0 0.6rem; }
h3 { font-size: 0.95rem; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 0.35rem 0.7rem; width: 16rem; max-width: 100%; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 0.75rem; margin: 0.75rem 0 0; }
.tile, article, table, .problems li { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 0.7rem 0.9rem; }
.tile dt { color: var(--soft); font-size: 0.8rem; }
.tile dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
.tile dd .badge { font-size: 0.9rem; }
.note, .tile dd.note { color: var(--soft); font-size: 0.85rem; font-weight: normal; }
.empty { color: var(--soft); }
table { width: 100%; border-collapse: separate; border-spacing: 0; overflow: hidden; }
th { text-align: left; font-size: 0.8rem; font-weight: normal; color: var(--soft); }
th, td { padding: 0.5rem 0.9rem; vertical-align: top; }
td { border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
time { white-space: nowrap; font-variant-numeric: tabular-nums; }
.host { color: var(--soft); }
.share { display: inline-block; min-width: 3.2rem; font-variant-numeric: tabular-nums; font-weight: 600; }
.badge { display: inline-block; padding: 0 0.5rem; border-radius: 99px; font-size: 0.78rem; font-weight: 600;
  white-space: nowrap; color: var(--idle); background: var(--idle-bg); }
.badge.up { color: var(--up); background: var(--up-bg); }
.badge.down { color: var(--down); background: var(--down-bg); }
.badge.starting { color: var(--wait); background: var(--wait-bg); }
ul { list-style: none; margin: 0; padding: 0; }
.problems li { padding: 0.6rem 0.9rem; margin-bottom: 0.5rem; border-left: 4px solid var(--wait); overflow-wrap: anywhere; }
.problems li.down { border-left-color: var(--down); }
.problems span:last-child { display: block; color: var(--soft); font-size: 0.9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 0.75rem; align-items: start; }
article { padding: 0.75rem 0.9rem; }
article:target { border-color: var(--link); }
.instances li { display: flex; flex-wrap: wrap; gap: 0.15rem 0.5rem; align-items: baseline; padding: 0.15rem 0; }
.instances code { flex: 1 1 auto; }
.instances bdi.note { flex-basis: 100%; overflow-wrap: anywhere; }
footer { margin-top: 2rem; display: flex; gap: 1.25rem; font-size: 0.85rem; }
@media (max-width: 40rem) {
  body { padding: 0.5rem 0.75rem 2rem; }
  form, input { width: 100%; }
  .tiles { grid-template-columns: 1fr 1fr; }
  table, tbody, tr, td { display: block; }
  thead { display: none; }
  tr { padding: 0.5rem 0.9rem; border-top: 1px solid var(--line); }
  tbody tr:first-child { border-top: 0; }
  td { position: relative; padding: 0.1rem 0 0.1rem 4.2rem; border: 0; text-align: left; }
  td::before { content: attr(data-label); position: absolute; left: 0; color: var(--soft); font-size: 0.8rem; }
  #changes td { display: inline; padding: 0 0.5rem 0 0; }
  #changes td::before { content: none; }
  #changes td[data-label="what"] { display: block; }
  .cards { grid-template-columns: 1fr; }
}
`;

/** Replaces only the parts that changed, to keep scroll position, focus and search box. A hidden page does not refresh. */
export const pageJs = `"use strict";
const refreshMs = 2000;
const main = document.querySelector("main");
const state = document.getElementById("state");
const silence = document.getElementById("silence");
let answered = new Date();
function local(at) {
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}
function localTimes(page) {
  for (const element of page.querySelectorAll("time")) {
    element.title = element.dateTime;
    element.textContent = local(new Date(element.dateTime));
  }
}
function row(link) {
  return link.closest("tr, article")?.firstElementChild.textContent;
}
function replace(had, fresh) {
  const focused = had.contains(document.activeElement) ? document.activeElement : undefined;
  const links = focused ? [...fresh.querySelectorAll("a")].filter((link) => row(link) === row(focused)) : [];
  had.replaceWith(fresh);
  (links.find(({ href }) => href === focused.href) ?? links[0])?.focus({ preventScroll: true });
}
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.pathname + location.search, { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A new release has a new script.
    if (page.querySelector("h1").textContent !== document.querySelector("h1").textContent)
      return location.reload();
    localTimes(page);
    [...page.querySelector("main").children].forEach((part, position) => {
      if (!part.isEqualNode(main.children[position])) replace(main.children[position], part);
    });
    const spoken = page.getElementById("state").textContent;
    if (state.textContent !== spoken) state.textContent = spoken;
    document.title = page.title;
    silence.textContent = "";
    answered = new Date();
  } catch {
    silence.textContent ||= \`No answer since \${local(answered)}. The page shows the state at that time.\`;
    document.title = "no answer \\u00b7 Switchyard load balancer";
  }
}
async function loop() {
  const started = performance.now();
  await refresh();
  // With thousands of services, rendering the page is expensive: refresh less often, but at least every 30 s.
  setTimeout(loop, Math.min(30000, Math.max(refreshMs, 20 * (performance.now() - started))));
}
localTimes(document);
setTimeout(loop, refreshMs);
`;

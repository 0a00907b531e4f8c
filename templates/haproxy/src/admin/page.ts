/** The page at `/` of the admin port: the status as HTML, without resources from elsewhere. Pure. */
import { plural, some } from "../../../../lib/text";
import { show } from "../../../../routing/grammar";
import { describeRun, type JobRun } from "../../../../routing/jobs/status";
import { describeLimits } from "../../../../routing/scaling/limits-status";
import { writeOptions } from "../../../../routing/service-options";
import { html, type Html } from "./html";
import type { InstanceStatus, ServiceStatus, Status } from "./status";

/** Thousands of rows help nobody; the search box narrows them. */
const maxRows = 200;
const maxInstances = 60;
const maxChanges = 20;
const shownDecisions = 3;

/** How often a browser without JavaScript refreshes the page. */
const refreshSeconds = 10;

/** Foreign text, with characters escaped that could hide or reverse the text around it. */
const plain = (value: string): string => (/^[\x20-\x7e]{1,120}$/.test(value) ? value : show(value));

const badge = (kind: string, text: string): Html => html`<span class="badge ${kind}">${text}</span>`;

/** A time in UTC, which the page's script converts to the browser's time zone. */
const time = (iso: string): Html =>
  html`<time datetime="${iso}">${iso.slice(0, 19).replace("T", " ")}</time>`;

/** Renders what contains `query`, the text in the search box, and the services that matching URLs and ports lead to. */
export function renderPage(status: Status, query = ""): string {
  const wanted = query.trim();
  const found = search(status, wanted.toLowerCase());
  const services = new Map(found.services.map((service) => [service.name, service]));
  // Empty parts stay, so that the page's script can replace each by its position.
  const parts = [
    tiles(status),
    attention(found),
    routesSection(found, services, wanted),
    tcpSection(found, services),
    servicesSection(found),
    workersSection(found),
    jobsSection(found),
    leavingSection(found),
    certificatesSection(found),
    changesSection(status),
  ];
  const body = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${status.ready ? "" : "not ready · "}Switchyard load balancer</title>
        <link rel="stylesheet" href="/page.css" />
        <noscript><meta http-equiv="refresh" content="${refreshSeconds}" /></noscript>
        <script src="/page.js" defer></script>
      </head>
      <body>
        <header>
          <h1>Switchyard <small>load balancer ${status.version}</small></h1>
          <form method="get" action="/" role="search">
            <input
              type="search"
              name="q"
              value="${query}"
              placeholder="URL or service"
              aria-label="Filter the lists"
            />
          </form>
        </header>
        <p id="state" role="status">${spoken(status)}</p>
        <p id="silence" role="alert"></p>
        <main>${parts.map((part) => html`<div>${part}</div>`)}</main>
        <footer>
          <a href="/routes">routes (JSON)</a> <a href="/metrics">metrics</a> <a href="/ready">ready</a>
        </footer>
      </body>
    </html> `;
  return body.text;
}

function search(status: Status, wanted: string): Status {
  const has = (...texts: readonly string[]) => texts.some((text) => text.toLowerCase().includes(wanted));
  const routes = status.routes.filter(({ url, targets }) =>
    has(url, ...targets.map(({ service }) => service)),
  );
  const tcp = status.tcp.filter(({ port, service }) => has(String(port), service));
  const routed = new Set([...routes.flatMap(({ targets }) => targets), ...tcp].map(({ service }) => service));
  return {
    ...status,
    routes,
    tcp,
    services: status.services.filter(({ name }) => has(name) || routed.has(name)),
    workers: status.workers.filter(({ name }) => has(name)),
    jobs: status.jobs.filter(({ name }) => has(name)),
    leaving: status.leaving.filter(({ backend, address }) => has(backend, address)),
    held: status.held.filter(({ service, address, why }) => has(service, address, why)),
    quarantined: status.quarantined.filter(({ subject, message }) => has(subject, message)),
    unrouted: status.unrouted.filter(({ subject, message }) => has(subject, message)),
    warnings: status.warnings.filter(({ subject, message }) => has(subject, message)),
    certificates: status.certificates.filter(({ name, hosts }) => has(name, ...hosts)),
  };
}

const concerns = ({ failure, pending, quarantined, unrouted, held, warnings }: Status): number =>
  quarantined.length +
  unrouted.length +
  held.length +
  warnings.length +
  Number(failure !== undefined) +
  Number(pending.length > 0);

/** What a screen reader says when it changes. */
function spoken(status: Status): string {
  const count = concerns(status);
  return [
    status.ready ? "Ready." : `Not ready: ${status.why ?? "starting"}.`,
    ...(status.consul.connected ? [] : ["Consul does not answer."]),
    ...(count === 0 ? [] : [`${count} ${count === 1 ? "needs" : "need"} attention.`]),
  ].join(" ");
}

function tiles(status: Status): Html {
  const instances = status.services.flatMap((service) => service.instances);
  const count = (state: InstanceStatus["state"]) => instances.filter((each) => each.state === state).length;
  const waiting = status.services.reduce((sum, service) => sum + service.waiting.length, 0);
  const critical = status.services.reduce((sum, service) => sum + service.critical.length, 0) - waiting;
  const tile = (label: string, value: Html | string | number, note?: Html | string) =>
    html`<div class="tile">
      <dt>${label}</dt>
      <dd>${value}</dd>
      ${note === undefined ? undefined : html`<dd class="note">${note}</dd>`}
    </div>`;
  const down = count("down");
  const rest = [
    ...(down > 0 ? [`${down} down`] : []),
    ...(count("starting") > 0 ? [`${count("starting")} starting`] : []),
    ...(count("leaving") + status.leaving.length > 0
      ? [`${count("leaving") + status.leaving.length} leaving`]
      : []),
    ...(waiting > 0 ? [`${waiting} waiting for a health check`] : []),
    ...(critical > 0 ? [`${critical} not passing in Consul`] : []),
  ];
  const asleep = status.services.filter((service) => service.asleep === true).length;
  const { nodesWanted = 0, dry = false } = status.autoscaler ?? {};
  const notes = [
    ...(asleep > 0 ? [`${asleep} asleep`] : []),
    ...(nodesWanted > 0 ? [`room for ${plural(nodesWanted, "more node")} wanted`] : []),
    ...(dry ? ["the autoscaler only says what it would do"] : []),
  ];
  return html`<dl class="tiles">
    ${tile("Load balancer", status.ready ? badge("up", "ready") : badge("down", "not ready"), status.why)}
    ${tile(
      "Consul",
      status.consul.connected ? badge("up", "connected") : badge("down", "not answering"),
      html`index ${status.consul.index} in
      force${status.consul.lastAnswer === null ? undefined : html`, last answer ${time(status.consul.lastAnswer)}`}`,
    )}
    ${tile("URLs", status.routes.length, status.tcp.length === 0 ? undefined : `and ${plural(status.tcp.length, "TCP port")}`)}
    ${tile("Services", status.services.length, notes.length === 0 ? undefined : notes.join(", "))}
    ${tile("Instances up", count("up"), rest.length === 0 ? undefined : rest.join(", "))}
  </dl>`;
}

/** Everything that somebody should look at; empty if there is nothing. */
function attention(status: Status): Html {
  const { failure, pending, quarantined, unrouted, held, warnings } = status;
  const item = (kind: string, label: string, subject: string, message: Html | string) =>
    html`<li class="${kind}">
      ${badge(kind, label)} <strong><bdi>${plain(subject)}</bdi></strong> <span>${message}</span>
    </li>`;
  const items = [
    ...(failure === undefined ? [] : [item("down", "not applied", "The last good state stays.", failure)]),
    ...(pending.length === 0
      ? []
      : [
          item(
            "starting",
            "waiting",
            "HAProxy must be reloaded.",
            `Until then, not everything is in force: ${some(pending)}.`,
          ),
        ]),
    ...quarantined.slice(0, maxRows).map((each) => item("down", "quarantined", each.subject, each.message)),
    ...unrouted.slice(0, maxRows).map((each) => item("starting", "not routed", each.subject, each.message)),
    ...held
      .slice(0, maxRows)
      .map((each) =>
        item(
          "starting",
          "held",
          each.service,
          html`at ${each.address}: Consul dropped it in a suspicious way on ${time(each.since)} (${each.why});
          it keeps its traffic while it listens.`,
        ),
      ),
    ...warnings.slice(0, maxRows).map((each) => item("starting", "warning", each.subject, each.message)),
  ];
  if (items.length === 0) return html``;
  return html`<section id="attention">
    <h2>Needs attention</h2>
    <ul class="problems">
      ${items}
    </ul>
    ${cut(concerns(status) - items.length)}
  </section>`;
}

function routesSection(
  { routes }: Status,
  services: ReadonlyMap<string, ServiceStatus>,
  wanted: string,
): Html {
  const none =
    wanted === ""
      ? html`None yet. Register a service with the tag <code>rest</code> in Consul, and it appears here.`
      : html`No URL contains <bdi>${plain(wanted)}</bdi>.`;
  if (routes.length === 0)
    return html`<section id="routes">
      <h2>URLs</h2>
      <p class="empty">${none}</p>
    </section>`;
  const rows = routes.slice(0, maxRows).map((route) => {
    const links = route.targets.map(
      ({ service, share }) =>
        html`<div class="target">
          ${route.targets.length > 1 ? html`<span class="share">${share} %</span> ` : undefined}
          ${link(service, services)}
        </div>`,
    );
    const [host, path] = [
      route.url.slice(0, route.url.indexOf("/")),
      route.url.slice(route.url.indexOf("/")),
    ];
    return html`<tr>
      <td data-label="URL">
        <code>${host === "" ? undefined : html`<span class="host">${host}</span>`}${path}</code>
      </td>
      <td data-label="goes to">${links.length === 0 ? badge("down", "nothing") : links}</td>
      <td data-label="why" class="note">
        ${route.choice ?? "its own name or path"}${route.stripPrefix ? undefined : "; prefix kept"}
      </td>
    </tr>`;
  });
  return html`<section id="routes">
    <h2>URLs</h2>
    ${table(["URL", "goes to", "why"].map(th), rows)} ${cut(routes.length - rows.length)}
  </section>`;
}

function tcpSection({ tcp }: Status, services: ReadonlyMap<string, ServiceStatus>): Html {
  if (tcp.length === 0) return html``;
  const rows = tcp.slice(0, maxRows).map(
    ({ port, service }) =>
      html`<tr>
        <td data-label="port"><code>${port}</code></td>
        <td data-label="goes to">${link(service, services)}</td>
      </tr>`,
  );
  return html`<section id="tcp">
    <h2>TCP ports</h2>
    ${table(["port", "goes to"].map(th), rows)} ${cut(tcp.length - rows.length)}
  </section>`;
}

/** Service names have passed validation and are safe in a URL. */
const anchor = (service: string): string => `service-${service}`;

/** A link to a service, with the number of its instances that get requests. */
function link(service: string, services: ReadonlyMap<string, ServiceStatus>): Html {
  const { instances = [], asleep } = services.get(service) ?? {};
  if (asleep === true)
    return html`<a href="#${anchor(service)}">${service}</a> ${badge("leaving", "asleep")}`;
  const up = instances.filter(({ state, weight }) => state === "up" && weight > 0).length;
  return html`<a href="#${anchor(service)}">${service}</a> ${badge(up > 0 ? "up" : "down", `${up} up`)}`;
}

function servicesSection({ services }: Status): Html {
  if (services.length === 0) return html``;
  const cards = services.slice(0, maxRows).map(
    ({ name, options, instances, critical, waiting, asleep, scaling, limits }) =>
      html`<article id="${anchor(name)}">
        <h3>${name} <small>${traits(options)}</small></h3>
        ${asleep === true ? html`<p>${badge("leaving", "asleep")} <span class="note">a request wakes it</span></p>` : undefined}
        ${scaling === undefined ? undefined : scalingPart(scaling)}
        ${limits === undefined ? undefined : limitsPart(limits)}
        <ul class="instances">
          ${instances.slice(0, maxInstances).map((each) => instance(name, each))}${critical
            .slice(0, maxInstances)
            .map(
              (id) =>
                html`<li class="${waiting.includes(id) ? "starting" : "down"}">
                  <code><bdi>${plain(id)}</bdi></code>
                  ${waiting.includes(id) ? badge("starting", "waits for its health check") : badge("down", "not passing")}
                </li>`,
            )}
        </ul>
        ${cut(Math.max(0, instances.length - maxInstances) + Math.max(0, critical.length - maxInstances), "see")}
      </article>`,
  );
  return html`<section id="services">
    <h2>Services</h2>
    <div class="cards">${cards}</div>
    ${cut(services.length - cards.length)}
  </section>`;
}

/** Services without a route; only the autoscaler knows them here. */
function workersSection({ workers }: Status): Html {
  if (workers.length === 0) return html``;
  const cards = workers.slice(0, maxRows).map(
    ({ name, limits }) =>
      html`<article>
        <h3>${name}</h3>
        ${limitsPart(limits)}
      </article>`,
  );
  return html`<section id="workers">
    <h2>Workers</h2>
    <div class="cards">${cards}</div>
    ${cut(workers.length - cards.length)}
  </section>`;
}

/** Services with a schedule; only the autoscaler knows them here. */
function jobsSection({ jobs }: Status): Html {
  if (jobs.length === 0) return html``;
  const rows = jobs.slice(0, maxRows).map(
    ({ name, schedule, next, running, runs, problem }) =>
      html`<tr>
        <td data-label="job">${plain(name)}</td>
        <td data-label="schedule"><code>${plain(schedule)}</code></td>
        <td data-label="next">
          ${running === undefined ? undefined : html`${badge("starting", "running")} since ${time(running)}<br />`}
          ${problem === undefined ? undefined : html`${badge("down", "not started")} ${plain(problem)}<br />`}
          ${next === undefined ? "never" : time(next)}
        </td>
        <td data-label="last runs">
          <ul class="instances">
            ${[...runs].reverse().map(jobRun)}
          </ul>
        </td>
      </tr>`,
  );
  return html`<section id="jobs">
    <h2>Jobs</h2>
    ${table(["job", "schedule", "next", "last runs"].map(th), rows)} ${cut(jobs.length - rows.length)}
  </section>`;
}

function jobRun(run: JobRun): Html {
  const state = run.result === "succeeded" ? "up" : run.result === "skipped" ? "starting" : "down";
  return html`<li class="${state}">${plain(describeRun(run))}</li>`;
}

function instance(service: string, { ids, address, weight, state, check, held }: InstanceStatus): Html {
  const usual = `${service}:${address.slice(address.lastIndexOf(":") + 1)}`;
  const shownIds = ids.filter((id) => ids.length > 1 || id !== usual);
  return html`<li class="${state}">
    <code>${address}</code>
    ${badge(state, state)}${held === true ? html` ${badge("starting", "held")}` : undefined}${weight === 100 ? undefined : html` <span class="note">weight ${weight}${weight === 0 ? ": no new requests" : undefined}</span>`}${check === undefined ? undefined : html` <span class="note">${check}</span>`}${shownIds.length === 0 ? undefined : html` <bdi class="note">${some(shownIds.map(plain))}</bdi>`}
  </li>`;
}

function scalingPart({
  min,
  max,
  replicas,
  wish,
  reason,
  waiting,
  changes,
  problem,
}: NonNullable<ServiceStatus["scaling"]>): Html {
  return html`<p class="note scaling">
      ${replicas} of ${min} to ${max} instances, ${wish} wanted: ${plain(reason)}
      ${waiting === 0 ? undefined : badge("down", `no room for ${waiting}`)}
      ${problem === undefined ? undefined : html`${badge("down", "not scaled")} ${plain(problem)}`}
    </p>
    ${
      changes.length === 0
        ? undefined
        : html`<ul class="note scaling">
            ${changes
              .slice(-shownDecisions)
              .reverse()
              .map(
                ({ at, from, to, reason: why }) => html`<li>${time(at)} ${from} → ${to}: ${plain(why)}</li>`,
              )}
          </ul>`
    }`;
}

function limitsPart(limits: NonNullable<ServiceStatus["limits"]>): Html {
  const { reason } = limits;
  return html`${describeLimits(limits).map((line) => html`<p class="note scaling">${line}</p>`)}
  ${reason === undefined ? undefined : html`<p class="note scaling">${plain(reason)}</p>`}`;
}

/** The options that differ from their defaults. */
function traits(options: ServiceStatus["options"]): string {
  const set = [...writeOptions(options, { defaults: false })].map(([key, value]) =>
    value === true ? key : `${key} ${value}`,
  );
  return [...(options.kind === "tcp" ? ["tcp"] : []), ...set].join(" · ");
}

function leavingSection({ leaving }: Status): Html {
  if (leaving.length === 0) return html``;
  const rows = leaving.slice(0, maxRows).map(
    ({ backend, address }) =>
      html`<tr>
        <td data-label="backend"><code>${backend}</code></td>
        <td data-label="address"><code>${address}</code> ${badge("leaving", "leaving")}</td>
      </tr>`,
  );
  return html`<section id="leaving">
    <h2>Leaving</h2>
    <p class="note">Their services are gone. They stay until their last connection ends.</p>
    ${table(["backend", "address"].map(th), rows)} ${cut(leaving.length - rows.length)}
  </section>`;
}

/** The first one is the default, for clients that name no host. */
function certificatesSection({ certificates }: Status): Html {
  if (certificates.length === 0) return html``;
  const rows = certificates.slice(0, maxRows).map(
    ({ name, hosts, expires }) =>
      html`<tr>
        <td data-label="file"><code>${name}</code></td>
        <td data-label="for">
          ${hosts.slice(0, maxInstances).map((host) => html`<code><bdi>${plain(host)}</bdi></code> `)}
          ${cut(hosts.length - maxInstances, "see")}
        </td>
        <td data-label="expires">${time(expires)}</td>
      </tr>`,
  );
  return html`<section id="certificates">
    <h2>Certificates</h2>
    ${table(["file", "for", "expires"].map(th), rows)} ${cut(certificates.length - rows.length)}
  </section>`;
}

const changeWords = { start: "started", operations: "no reload", reload: "reload" } as const;

function changesSection({ changes }: Status): Html {
  if (changes.length === 0) return html``;
  const rows = changes.slice(0, maxChanges).map(
    ({ at, how, what, milliseconds }) =>
      html`<tr>
        <td data-label="when">${time(at)}</td>
        <td data-label="how">${badge(how === "reload" ? "starting" : "up", changeWords[how])}</td>
        <td data-label="what">${what}</td>
        <td data-label="took" class="number">${milliseconds} ms</td>
      </tr>`,
  );
  return html`<section id="changes">
    <h2>Last changes</h2>
    ${table([...["when", "how", "what"].map(th), html`<th class="number">took</th>`], rows)}
    ${changes.length > rows.length ? html`<p class="note">Older ones: <a href="/routes">/routes</a>.</p>` : undefined}
  </section>`;
}

const th = (title: string): Html => html`<th>${title}</th>`;

const table = (heads: readonly Html[], rows: readonly Html[]): Html =>
  html`<table>
    <thead>
      <tr>
        ${heads}
      </tr>
    </thead>
    <tbody>
      ${rows}
    </tbody>
  </table>`;

/** How many are left out. `how` leaves out the search box where a search cannot show more. */
const cut = (left: number, how = "narrow with the search box, or see"): Html =>
  left > 0 ? html`<p class="note">and ${left} more: ${how} <a href="/routes">/routes</a>.</p>` : html``;

/**
 * Requests for a service that sleeps wait in HAProxy until one of its instances takes requests. HAProxy itself would answer 503 at
 * once, so a Lua action waits. Pure.
 */
import { endsWithPrefix } from "../../../../routing/options/redirect-slash";
import { asleepFlag } from "./flags";
import { lines } from "./syntax";

/** How long a request waits, and how many of a service may. */
const longestSeconds = 30;
const mostHeld = 100;
const retryAfterSeconds = 5;

/** The stick table that counts the held requests of each service. An entry disappears with the last of them. */
export const heldTable = "held";

export const holdScript = (dir: string): string => `${dir}/hold.lua`;

/** The folder in which a file with the name of a service, and `:` instead of `/`, is written once a second while a request waits. */
export const wantedFolder = (runDir: string): string => `${runDir}/wanted`;

/**
 * A server that this prefix marks has been added to a worker that a reload has replaced. HAProxy's commands do not enable it there,
 * so the script does.
 */
export const wokenPrefix = "woken:";

/** One for each thread of HAProxy. */
export const holdLua = (runDir: string): string => `local told = {}

local function tell(service, now)
  if told[service] == now then return end
  told[service] = now
  local file = io.open("${wantedFolder(runDir)}/" .. service:gsub("/", ":"), "w")
  if file then
    file:write("1")
    file:close()
  end
end

core.register_action("hold", { "http-req" }, function(txn)
  local service = txn:get_var("txn.waits")
  local backend = core.backends[txn.f:be_name()]
  local started = core.now().sec
  while backend:get_srv_act() == 0 do
    local now = core.now().sec
    if now - started >= ${longestSeconds} then return end
    tell(service, now)
    for name, server in pairs(backend.servers) do
      if name:find("${wokenPrefix}", 1, true) == 1 then server:set_ready() end
    end
    core.msleep(20)
  end
end)
`;

const json = (status: number, body: object, headers: string) =>
  `http-request return status ${status} content-type application/json string '${JSON.stringify(body)}' hdr Cache-Control no-store${headers}`;

const refuse = (error: string) => json(503, { status: 503, error }, ` hdr Retry-After ${retryAfterSeconds}`);

/** The last lines of each backend profile. With a usable server, a request meets only the first condition of each. */
export function holdLines(dir: string): string[] {
  const asleep = "{ var(txn.asleep) -m found }";
  const unusable = "!{ nbsrv gt 0 }";
  return [
    `http-request set-var(txn.waits) var(txn.route),field(5,|) if ${unusable}`,
    `http-request set-var(txn.asleep) str(${asleepFlag("")}),concat(,txn.waits),map_str(${dir}/flags.map) if { var(txn.waits) -m found }`,
    // A redirect needs no instance.
    `http-request unset-var(txn.asleep) if { var(txn.asleep) -m str redirects } { method GET HEAD } ${endsWithPrefix}`,
    // A health check must not wake the service.
    `http-request set-var(txn.health) be_name,map_str(${dir}/health.map) if ${asleep}`,
    `${json(200, { asleep: true }, "")} if ${asleep} { method HEAD } || ${asleep} { method GET } { pathq,strcmp(txn.health) eq 0 }`,
    `${refuse("This service is asleep, and too many requests wait for it to wake.")} if ${asleep} { be_conn gt ${mostHeld} }`,
    `http-request track-sc0 var(txn.waits) table ${heldTable} if ${asleep}`,
    `http-request lua.hold if ${asleep}`,
    `${refuse("This service is asleep, and did not wake in time.")} if ${asleep} ${unusable}`,
  ];
}

export const heldSection = (): string =>
  lines(`backend ${heldTable} from http:common`, [
    "stick-table type string len 200 size 10k expire 1m store conn_cur",
  ]);

import { homedir } from "node:os";
import path from "node:path";

import { describe, expect, it } from "vitest";

import { parseService } from "../components/config/services";
import { isMapping } from "../lib/values";
import { convert } from "./convert";
import { Hidden } from "./hidden";
import { readCompose, words } from "./read";
import { readVariables, type Scope } from "./variables";

const scopeOf = (env: Record<string, string>): Scope => ({ env, hidden: new Hidden(), unset: new Set() });

function imported(
  text: string,
  env: Record<string, string> = {},
  files: Record<string, string | Uint8Array> = {},
  hidden = new Hidden(),
) {
  const scope = { ...scopeOf(env), hidden };
  return convert(readCompose(text, scope), {
    folder: "..",
    ...scope,
    read: (file) => {
      const content = files[file];
      return content === undefined ? undefined : Buffer.from(content);
    },
    present: 2,
    hasRoot: false,
    project: "app",
    secretCommand: (key) => `script/secret ${key}`,
  });
}

/** After docker/awesome-compose (CC0): prometheus-grafana, wordpress-mysql, nginx-flask-mysql and gitea-postgres. */
const kinds = {
  wordpress: `
services:
  db:
    image: mariadb:10.6.4-focal
    command: '--default-authentication-plugin=mysql_native_password'
    volumes:
      - db_data:/var/lib/mysql
    restart: always
    environment:
      - MYSQL_ROOT_PASSWORD=somewordpress
      - MYSQL_DATABASE=\${DATABASE:-wordpress}
    expose:
      - 3306
      - 33060
  wordpress:
    image: wordpress:6.4
    ports:
      - 80:80
    restart: always
    environment: &env
      WORDPRESS_DB_HOST: db
      WORDPRESS_DEBUG: 012
volumes:
  db_data:
`,
  monitoring: `
version: "3.8"
services:
  prometheus:
    image: prom/prometheus
    container_name: prometheus
    command:
      - '--config.file=/etc/prometheus/prometheus.yml'
    ports:
      - 9090:9090
    restart: unless-stopped
    volumes:
      - ./prometheus:/etc/prometheus
      - prom_data:/prometheus
  backend:
    build:
      context: backend
      target: builder
      cache_from: [x]
    restart: on-failure
    secrets:
      - db-password
    healthcheck:
      test: ["CMD-SHELL", "curl -f http://localhost:8000"]
      interval: 1m30s
      retries: 5
    deploy:
      replicas: 2
      resources: { limits: { cpus: '0.5', memory: 64MB } }
      labels: [a]
    networks: [backnet]
    depends_on: { prometheus: { condition: service_started } }
volumes:
  prom_data:
networks:
  backnet:
secrets:
  db-password:
    file: db/password.txt
x-else: {}
`,
  options: `
services:
  a:
    image: a:1
    networks: { back: { aliases: [b], ipv4_address: 10.9.8.7, priority: 5 } }
    environment: { K: v }
    depends_on: { b: { condition: service_started } }
  b: { image: "b:1", networks: [back] }
networks: { back: { internal: true, driver: overlay, ipam: { config: [{ subnet: 10.9.8.0/24 }] } } }
configs: { c: { file: ./c, template_driver: golang } }
secrets: { s: { environment: DB, labels: [l] }, e: { external: true } }
volumes: { v: { name: w } }
`,
};

/** The keys of a file, down to the leaves, of which nothing is said and whose values are lost. */
function missing(text: string): string[] {
  const { services, configs, fates } = imported(text);
  const written = JSON.stringify([services, configs]);
  const isWritten = (value: unknown) =>
    value === null ||
    [value]
      .flat()
      .every((each) => typeof each === "string" && written.includes(/[^:/]*$/.exec(each)?.[0] ?? ""));
  const isSaid = (at: string, value: unknown) =>
    fates.some(
      ({ key, fate }) =>
        key === at ||
        key.startsWith(`${at}.`) ||
        (at.startsWith(`${key}.`) && (fate === "left out" || isWritten(value))),
    );
  /** Written in other words, which other tests look at. */
  const translated = /\.healthcheck\.(test|interval)$|\.depends_on\.\w+\.condition$/;
  const leaves = (value: unknown, at: string): string[] => {
    if (!isMapping(value)) return isSaid(at, value) || translated.test(at) ? [] : [at];
    const inner = Object.entries(value).flatMap(([key, each]) =>
      leaves(each, at === "" ? key : `${at}.${key}`),
    );
    return Object.keys(value).length > 0 || isSaid(at, "") ? inner : [at];
  };
  return leaves(readCompose(text, scopeOf({})), "");
}

describe("an import", () => {
  it.each(Object.entries(kinds))("says what became of every key: %s", (_, text) => {
    expect(missing(text)).toEqual([]);
  });

  it.each(Object.entries(kinds))("makes services that the schema takes: %s", (_, text) => {
    for (const service of imported(text).services) expect(() => parseService(service, "it")).not.toThrow();
  });

  it("keeps values as they are written, and fills in variables", () => {
    const { services } = imported(kinds.wordpress, { DATABASE: "blog" });
    expect(services).toMatchObject([
      {
        name: "db",
        // Compose does not publish it.
        type: "none",
        env: { MYSQL_DATABASE: "blog" },
        volumes: ["db_data:/var/lib/mysql"],
        networks: ["app"],
      },
      {
        name: "wordpress",
        port: 80,
        meta: { path: "/", check_tcp: "true" },
        env: { WORDPRESS_DB_HOST: "db", WORDPRESS_DEBUG: "012" },
        networks: ["app"],
      },
    ]);
  });

  it("moves paths, and translates checks and limits", () => {
    expect(imported(kinds.monitoring).services).toMatchObject([
      { command: ["--config.file=/etc/prometheus/prometheus.yml"], volumes: ["../prometheus:/etc/prometheus", "prom_data:/prometheus"] },
      {
        build: { context: "../backend", target: "builder" },
        type: "none",
        restart_policy: { condition: "on-failure" },
        healthCheck: { command: ["sh", "-c", "curl -f http://localhost:8000"], intervalSeconds: 90, retries: 5 },
        replicas: 2,
        cpus: 0.5,
        memory: "64m",
        networks: ["backnet"],
        depends_on: ["prometheus"],
      },
    ]); // prettier-ignore
  });

  it("lets services call each other by every name that Compose gives them", () => {
    const text = `
name: My App
services:
  web_1: { image: "a:1", links: ["db:database"], networks: { default: { aliases: [www] }, back: null } }
  db: { image: "b:1", container_name: pg, networks: [back] }
  agent: { image: "c:1", network_mode: host }`;
    const { services } = imported(text);
    expect(services.map(({ name, networks }) => [name, networks])).toEqual([
      ["web-1", { "My-App": { aliases: ["web_1", "www"] }, back: { aliases: ["web_1"] } }],
      ["db", { back: { aliases: ["pg", "database"] } }],
      ["agent", undefined],
    ]);
    for (const service of services) expect(() => parseService(service, "it")).not.toThrow();
    expect(imported(`services: { a: { image: "a:1" } }`).services[0]).not.toHaveProperty("networks");
  });

  it("starts services in their order, and says of those that end what to do", () => {
    const text = `
services:
  web: { image: "a:1", depends_on: { my_db: { condition: service_healthy }, migrate: { condition: service_completed_successfully } } }
  my_db: { image: "b:1" }
  migrate: { image: "a:1" }`;
    const { services, fates } = imported(text);
    expect(services[0]).toMatchObject({ depends_on: ["my-db"] });
    expect(fates.find(({ key }) => key === "services.web.depends_on.migrate")).toMatchObject({
      fate: "left out",
      text: expect.stringContaining("as before of web") as unknown,
    });
  });

  it("gives the path / to the one application, and keeps the ports of several", () => {
    const metas = (...ports: string[]) =>
      imported(JSON.stringify({ services: Object.fromEntries(ports.map((port, index) => [`s${index}`, { image: "a:1", ports: [port] }])) })) // prettier-ignore
        .services.map(({ type, meta }) => [type, (meta as Record<string, string>)["path"] ?? (meta as Record<string, string>)["tcp_port"]]); // prettier-ignore
    expect(metas("8080:80")).toEqual([[undefined, "/"]]);
    expect(metas("8080:80", "5432:5432")).toEqual([[undefined, "/"], ["tcp", "5432"]]); // prettier-ignore
    expect(metas("9090:9090", "3000:3000")).toEqual([["tcp", "9090"], ["tcp", "3000"]]); // prettier-ignore
    expect(metas("9090:9090", "80:3000")).toEqual([["tcp", "9090"], [undefined, "/"]]); // prettier-ignore
    expect(metas("9090", "3000")).toEqual([[undefined, undefined], [undefined, undefined]]); // prettier-ignore
  });

  it("has every password encrypted, and opens no port that only the machine itself has", () => {
    const text = `
services:
  a: { image: "a:1", ports: ["127.0.0.1:8080:80", "[::1]:9001:9001", "10.0.0.5:9002:9002"], env_file: [a.env, { path: gone.env }], environment: { DB_PASSWORD: "$PW", TOKEN_FILE: /x, K: v } }
  b: { image: "b:1", expose: [80], environment: [API_KEY=1, "DB=postgres://me:hush@db/x", "URL=http://b:80/x"] }
secrets: { "x'; reboot; '": { file: ./f }, ok: { file: "./a b; c" }, file: { file: ./f }, "a.b": { file: ./f } }`;
    const files = { "a.env": "K=old\nSMTP_PASSWORD=hush # mine\nL='x # y'", "./f": "hush\n" };
    const { services, secrets, fates } = imported(text, { PW: "hush" }, files);
    expect(services).toMatchObject([
      {
        env: { TOKEN_FILE: "/x", K: "v", L: "x # y" },
        meta: { internal: "true" },
        ports: [{ port: 9001, meta: { internal: "true" } }, { port: 9002 }],
      },
      { env: { URL: "http://b:80/x" } },
    ]);
    expect(Object.fromEntries(secrets)).toEqual({
      "services[2].env.SMTP_PASSWORD": "hush",
      "services[2].env.DB_PASSWORD": "hush",
      "services[3].env.API_KEY": "1",
      "services[3].env.DB": "postgres://me:hush@db/x",
      "secrets.file": "hush\n",
      'secrets["a.b"]': "hush\n",
    });
    expect(JSON.stringify([services, fates])).not.toContain("hush");
    const said = fates.map((fate) => `${fate.key}: ${fate.text}`).join("\n");
    expect(said).toContain("gone.env does not exist");
    expect(said).toContain("the address 10.0.0.5 of port 9002");
    expect(said).toContain("script/secret secrets.ok <'../a b; c'");
    expect(said).toContain("has a name that no secret can have");
  });

  it("writes no secret in plain, whatever the key", () => {
    const text = `
name: app-\${DB_TOKEN}
services:
  a:
    image: r/\${DB_TOKEN}:1
    build: { dockerfile: D, args: { NPM_TOKEN: , V: "\${DB_TOKEN}", K: v } }
    command: redis-server --requirepass \${REDIS_PASSWORD} --port 1
    entrypoint: [run, "\${DB_TOKEN}"]
    environment: { FOO: "x\${DB_TOKEN}", BAR: y, "B:PASSWORD": "hush" }
    labels: ["a=\${DB_TOKEN}"]
    healthcheck: { test: [CMD, redis-cli, -a, "\${REDIS_PASSWORD:-hush}", ping], interval: 5s }
    extra_hosts: { h: "\${DB_TOKEN}" }
    tmpfs: [/a, "/\${DB_TOKEN}"]
    volumes: [nas:/data]
    user: \${DB_TOKEN}
    x-own: \${DB_TOKEN}
  b:
    image: b:1
    build: { context: "https://me:hush@git/x", dockerfile: D }
    command: [serve, --api-token, hush, --password=hush, --password-file=/x, "--db=postgres://me:\${PW}@db"]
    healthcheck: { test: "curl http://me:\${PW}@localhost && x --pass $$PASS" }
    environment: ["\${LINE_SECRET}", FROM_ENV]
  c: { image: "c:1", command: "run \${SECRET_ARGS}", entrypoint: [run, --password, hush], healthcheck: { test: "mysql --password=hush" } }
configs:
  plain: { content: text }
  conf: { content: "requirepass \${REDIS_PASSWORD}" }
volumes: { nas: { driver_opts: { type: cifs, o: "password=\${DB_TOKEN}" } } }
secrets: { f: { file: "./\${DB_TOKEN}" } }
x-top: \${DB_TOKEN}`;
    const env = { REDIS_PASSWORD: "hush", DB_TOKEN: "hush", NPM_TOKEN: "hush", PW: "hush", LINE_SECRET: "A=hush", FROM_ENV: "x://a:hush@b", SECRET_ARGS: "--a hush" }; // prettier-ignore
    const { services, configs, secrets, fates } = imported(text, env);
    expect(JSON.stringify([services, configs, fates])).not.toMatch(/hush|[\uE000\uE001]/);
    expect(Object.fromEntries(secrets)).toEqual({
      "services[2].command[2]": "hush",
      "services[2].env.FOO": "xhush",
      "services[2].healthCheck.command[2]": "hush",
      "services[3].command[2]": "hush",
      "services[3].command[3]": "--password=hush",
      "services[3].command[5]": "--db=postgres://me:hush@db",
      "services[3].healthCheck.command[2]": "curl http://me:hush@localhost && x --pass $PASS",
      "services[3].env.FROM_ENV": "x://a:hush@b",
      "services[4].command[0]": "run",
      "services[4].command[1]": "--a",
      "services[4].command[2]": "hush",
      "services[4].healthCheck.command[2]": "mysql --password=hush",
    });
    expect(services[0]).toMatchObject({
      build: { dockerfile: "D", args: { K: "v" } },
      command: ["redis-server", "--requirepass", "to be encrypted", "--port", "1"],
      env: { BAR: "y" },
      healthCheck: { command: ["redis-cli", "-a", "to be encrypted", "ping"] },
      tmpfs: ["/a"],
    });
    expect(services[1]).toMatchObject({ image: "b:1" });
    expect(services[1]).not.toHaveProperty("build");
    expect(configs).toEqual({ plain: { content: "text" } });
    const said = fates.filter(({ text: told }) => told.startsWith("holds a secret")).map(({ key }) => key);
    expect(said.sort()).toEqual([
      "configs.conf.content",
      "name",
      "services.a.build.args.NPM_TOKEN",
      "services.a.build.args.V",
      "services.a.entrypoint",
      "services.a.environment.B:PASSWORD",
      "services.a.extra_hosts.h",
      "services.a.image",
      "services.a.tmpfs[1]",
      "services.a.user",
      "services.a.x-own",
      "services.b.build.context",
      "services.b.environment.${LINE_SECRET}",
      "services.c.entrypoint",
      "volumes.nas.driver_opts.o",
    ]);
  });

  it("keeps a file of a secret only if it is text, byte for byte", () => {
    const text = `
services: { a: { image: "a:1", env_file: bin } }
secrets: { key: { file: bin }, bom: { file: "\${SECRETS_DIR}/bom" } }`;
    const files = { bin: Uint8Array.of(0x30, 0x82, 0xff), "s/bom": "\uFEFFx\n" };
    const { secrets, fates } = imported(text, { SECRETS_DIR: "s" }, files);
    expect(Object.fromEntries(secrets)).toEqual({ "secrets.bom": "\uFEFFx\n" });
    const said = fates
      .filter(({ fate }) => fate === "left out")
      .map(({ key, text: told }) => `${key} ${told}`);
    expect(said).toEqual([
      "services.a.env_file bin is not text in UTF-8: write its variables into env",
      expect.stringMatching(
        /^secrets\.key is not text in UTF-8.* base64 \.\.\/bin \| script\/secret secrets\.key$/,
      ),
    ]);
  });

  it("keeps how often a program may fail, and says which port and mode is lost", () => {
    const text = `
services:
  a:
    image: a:1
    restart: on-failure:5
    ports: ["80:8080", "8080:8080", { target: 9000, published: 9000, mode: host }]
    volumes: ["d:/d:ro,z"]`;
    const { services, fates } = imported(text);
    expect(services[0]).toMatchObject({
      restart_policy: { condition: "on-failure", max_attempts: 5 },
      volumes: ["d:/d:ro"],
    });
    const said = fates.filter(({ fate }) => fate === "left out").map(({ text: told }) => told);
    expect(said).toEqual([
      expect.stringMatching(/^z of \/d has no counterpart/),
      "mode of a port has no counterpart",
      "port 8080 at 8080 as well: only the first one is kept",
    ]);
  });

  it("keeps further ports, and says what is lost inside of a key that is kept", () => {
    const ports = `services: { a: { image: "a:1", ports: ["8080:80", "2222:22", "9000-9001:9000-9001", "6379:6379"] } }`;
    expect(imported(ports).services).toMatchObject([
      {
        port: 80,
        ports: [
          { port: 22, type: "tcp", meta: { tcp_port: "2222" } },
          { port: 6379, type: "tcp", meta: { tcp_port: "6379" } },
        ],
      },
    ]);
    const text = `
services:
  a:
    image: a:1
    healthcheck: { test: [CMD, a], start_interval: 1s, x-a: b }
    deploy: { resources: { limits: { cpus: '1', pids: 5 }, devices: [] } }
    volumes: [{ type: volume, source: d, target: /d, consistency: cached }]
volumes: { d: { external: true } }`;
    const said = imported(text).fates.filter(({ fate }) => fate === "left out");
    expect(said.map(({ key }) => key)).toEqual([
      "services.a.healthcheck.start_interval",
      "services.a.healthcheck.x-a",
      "services.a.deploy.resources.devices",
      "services.a.deploy.resources.limits.pids",
      "services.a.volumes",
      "volumes.d.external",
    ]);
  });

  it.each(["services: { a: { extends: b } }", "include: [x]\nservices: {}", "a: 1", "services: ["])(
    "refuses %s",
    (text) => {
      expect(() => imported(text)).toThrow(/^(services\.a has extends|The compose file)/);
    },
  );
});

it("says which variables are not set", () => {
  const text = `
services:
  a:
    image: "a:\${TAG}"
    build: { context: ., args: [ARG, GIVEN] }
    environment: { PLAIN: "x\${HOST}", BARE: , GIVEN: , OTHER: "\${TAG}" }
    env_file: f`;
  const { services, fates } = imported(text, { GIVEN: "1" }, { f: "GIVEN\nFILE_BARE\nA=${HOST}/z\n?\n" });
  expect(services[0]).toMatchObject({
    env: { PLAIN: "x", GIVEN: "1", OTHER: "", A: "/z" },
    build: { args: { GIVEN: "1" } },
  });
  expect(services[0]).not.toHaveProperty("env.BARE");
  const said = fates.filter(({ text: told }) => / not set|no variable/.test(told)).map(({ key, text: told }) => `${key} ${told}`); // prettier-ignore
  const taken = "is not set, and was taken as empty: set it in .env, and import again";
  const notSet = "is not set: set it in .env, and import again";
  expect(said).toEqual([
    `services.a.build.args.ARG ${notSet}`,
    "services.a.env_file f: line 4 is no variable: write NAME=value",
    `services.a.environment.BARE ${notSet}`,
    `\${TAG} ${taken}`,
    `\${HOST} ${taken}`,
    `\${FILE_BARE} ${taken}`,
  ]);
});

it("hides secrets of variables in other variables", () => {
  const text = `services: { a: { image: "a:1", env_file: f, command: "run \${Z}" } }`;
  const scope = scopeOf({ DB_TOKEN: "hush" });
  const env = readVariables("Y=${DB_TOKEN}/y\nZ=$Y", scope, () => undefined);
  const { services, secrets } = imported(text, { ...env, DB_TOKEN: "hush" }, { f: "A=${DB_TOKEN}/z\nB=$A" }, scope.hidden); // prettier-ignore
  expect(JSON.stringify(services)).not.toContain("hush");
  expect(Object.fromEntries(secrets)).toEqual({
    "services[2].command[1]": "hush/y",
    "services[2].env.A": "hush/z",
    "services[2].env.B": "hush/z",
  });
});

describe("a mount", () => {
  const mountsOf = (volumes: string) => imported(`services: { a: { image: "a:1", volumes: ${volumes} } }`);

  it("is a path of the node by its type, or by its first letter", () => {
    const home = path.join(homedir(), "x");
    const text = `[{ type: bind, source: html, target: /a }, { type: bind, source: ~/x, target: /b, read_only: true }, "~/x:/c", "html:/d", ".:/e"]`;
    const { services } = mountsOf(text);
    expect(services[0]).toMatchObject({
      volumes: ["../html:/a", `${home}:/b:ro`, `${home}:/c`, "html:/d", "..:/e"],
    });
    expect(() => parseService(services[0], "it")).not.toThrow();
  });

  it("of a path needs one", () => {
    const { services, fates } = mountsOf("[{ type: bind, target: /a }]");
    expect(services[0]).not.toHaveProperty("volumes");
    expect(fates).toContainEqual({
      key: "services.a.volumes",
      fate: "left out",
      text: "/a is a bind without a source: name its folder",
    });
  });
});

it("splits a command line as a shell does", () => {
  expect(words(`sh -c "echo \\"a b\\"" 'c d' e\\ f`)).toEqual(["sh", "-c", 'echo "a b"', "c d", "e f"]);
});

it("knows no key and no variable that it only inherits from objects", () => {
  const service =
    "{ image: a:1, constructor: x, command: '${toString}', environment: [valueOf], networks: { n: {} } }";
  const { fates } = imported(
    `{ services: { a: ${service} }, networks: { n: { constructor: x } }, constructor: x }`,
  );
  const text = (key: string) => fates.find((each) => each.key === key)?.text;
  expect(text("services.a.constructor")).toContain("has no counterpart");
  expect(text("services.a.environment.valueOf")).toContain("is not set");
  expect(text("networks.n.constructor")).toContain("the stack makes its networks itself");
  expect(text("constructor")).toBe("is not known here");
  expect(text("${toString}")).toContain("is not set");
});

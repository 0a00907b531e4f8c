import { describe, expect, it } from "vitest";

import { parseService } from "../components/config/services";
import { isMapping } from "../lib/values";
import { convert, interpolate, readCompose, words } from "./convert";

const imported = (text: string, env: Record<string, string> = {}) =>
  convert(readCompose(text, env), {
    folder: "..",
    env,
    exposed: () => [],
    present: 2,
    secretCommand: (key) => `script/secret ${key}`,
  });

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
};

/** All keys of the services and of the file, down to those that a fate names. */
function missing(text: string): string[] {
  const compose = readCompose(text, {});
  const said = imported(text).fates.map(({ key }) => key);
  const isSaid = (key: string) => said.some((each) => each === key || each.startsWith(`${key}.`) || key.startsWith(`${each}.`)); // prettier-ignore
  const keysOf = (value: unknown, at: string): string[] =>
    isMapping(value) ? Object.keys(value).map((key) => (at === "" ? key : `${at}.${key}`)) : [];
  const services = compose["services"];
  const inner = keysOf(services, "services").flatMap((at) =>
    keysOf((services as Record<string, unknown>)[at.replace("services.", "")], at),
  );
  return [...inner, ...keysOf(compose, "").filter((key) => key !== "services")].filter((key) => !isSaid(key));
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
        type: "tcp",
        port: 3306,
        env: { MYSQL_DATABASE: "blog" },
        volumes: ["db_data:/var/lib/mysql"],
        // Compose does not publish it.
        meta: { tcp_port: "3306", check_tcp: "true", internal: "true" },
      },
      { name: "wordpress", port: 80, env: { WORDPRESS_DB_HOST: "db", WORDPRESS_DEBUG: "012" } },
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
      },
    ]); // prettier-ignore
  });

  it("copies no password, and opens no port that only the machine itself has", () => {
    const text = `
services:
  a: { image: "a:1", ports: ["127.0.0.1:8080:80", "[::1]:9001:9001", "10.0.0.5:9002:9002"], environment: { DB_PASSWORD: "$PW", TOKEN_FILE: /x, K: v } }
  b: { image: "b:1", expose: [80], environment: [API_KEY=1] }
secrets: { "x'; reboot; '": { file: ./f }, ok: { file: "./a b; c" } }`;
    const { services, fates } = imported(text, { PW: "hush" });
    expect(services).toMatchObject([
      {
        env: { TOKEN_FILE: "/x", K: "v" },
        meta: { internal: "true" },
        ports: [{ port: 9001, meta: { internal: "true" } }, { port: 9002 }],
      },
      { env: {} },
    ]);
    const said = fates.map((fate) => `${fate.key}: ${fate.text}`).join("\n");
    expect(said).not.toContain("hush");
    expect(said).toContain("script/secret services[2].env.DB_PASSWORD <FILE");
    expect(said).toContain("script/secret services[3].env.API_KEY <FILE");
    expect(said).toContain("the address 10.0.0.5 of port 9002");
    expect(said).toContain("script/secret secrets.ok <'../a b; c'");
    expect(said).toContain("has a name that no secret can have");
  });

  it("keeps further ports, and says what is lost inside of a key that is kept", () => {
    const ports = `services: { a: { image: "a:1", ports: ["8080:80", "2222:22", "9000-9001:9000-9001", "6379:6379"] } }`;
    expect(imported(ports).services).toMatchObject([
      { port: 80, ports: [{ port: 22 }, { port: 6379, type: "tcp", meta: { tcp_port: "6379" } }] },
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

it.each([
  ["$A ${A} ${A:-x} ${B:-x} ${B-x} ${C-x} ${C:-x} ${A:+y} ${C:+y} $$A", "1 1 1 x x  x y  $A"],
  ["${B:-${A}}", "1"],
])("fills in %s", (text, filled) => {
  expect(interpolate(text, { A: "1", C: "" })).toBe(filled);
});

it("needs a variable that must be set", () => {
  expect(() => interpolate("${B:?no password}", {})).toThrow("The variable B is not set (no password)");
});

it("splits a command line as a shell does", () => {
  expect(words(`sh -c "echo \\"a b\\"" 'c d' e\\ f`)).toEqual(["sh", "-c", 'echo "a b"', "c d", "e f"]);
});

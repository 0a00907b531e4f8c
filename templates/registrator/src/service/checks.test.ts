import { describe, expect, it } from "vitest";
import { checkOf } from "./checks";
import { container, options } from "../fixtures";
import { servicesOf } from "./services";

const target = { address: "10.0.0.1", port: 8000, exposedPort: "80", containerId: "0123456789abcdef" };
const check = (given: Record<string, string>) => {
  const meta = new Map(Object.entries(given).map(([key, value]) => [`check_${key}`, value]));
  return checkOf(meta, target);
};

describe("SERVICE_CHECK_*", () => {
  it.each<[string, Record<string, string>, object | undefined]>([
    ["none", {}, undefined],
    ["http", { http: "/h" }, { HTTP: "http://10.0.0.1:8000/h", Interval: "10s" }],
    [
      "http, all options",
      { http: "/h", http_method: "HEAD", interval: "15s", timeout: "1s", initial_status: "passing" },
      {
        HTTP: "http://10.0.0.1:8000/h",
        Method: "HEAD",
        Interval: "15s",
        Timeout: "1s",
        Status: "passing",
      },
    ],
    ["http without a slash", { http: "@evil/" }, { HTTP: "http://10.0.0.1:8000/@evil/", Interval: "10s" }],
    ["http wins over https", { https: "/s", http: "/h" }, { HTTP: "http://10.0.0.1:8000/h" }],
    ["https", { https: "/s", https_method: "HEAD" }, { HTTP: "https://10.0.0.1:8000/s", Method: "HEAD" }],
    ["http does not follow redirects", { http: "/" }, { DisableRedirects: true }],
    ["nor does https", { https: "/" }, { DisableRedirects: true }],
    ["tcp", { tcp: "true", deregister_after: "10m" }, { TCP: "10.0.0.1:8000", Interval: "10s" }],
    ["tcp off", { tcp: "false" }, undefined],
    [
      "grpc",
      { grpc: "true", grpc_use_tls: "true", tls_skip_verify: "true", interval: "5s" },
      { GRPC: "10.0.0.1:8000", GRPCUseTLS: true, TLSSkipVerify: true, Interval: "5s" },
    ],
    [
      "script",
      { script: "nc $SERVICE_IP $SERVICE_PORT | grep OK" },
      { Args: ["sh", "-c", "nc 10.0.0.1 8000 | grep OK"], Interval: "10s" },
    ],
    ["cmd", { cmd: "/x" }, { Args: ["check-cmd", "0123456789ab", "80", "/x"] }],
  ])("%s", (_, given, expected) => {
    const found = check(given);
    expect(found.problems).toEqual([]);
    if (expected) expect(found.check).toMatchObject(expected);
    else expect(found.check).toBeUndefined();
  });

  it("a TTL check has no interval or timeout", () => {
    expect(check({ ttl: "30s", interval: "5s", timeout: "1s" }).check).toEqual({ TTL: "30s" });
  });

  it("drops an invalid option with a reason and keeps the check", () => {
    const { check: found, problems } = check({ http: "/", interval: "banana", initial_status: "fine" });
    expect(found).toEqual({
      HTTP: "http://10.0.0.1:8000/",
      DisableRedirects: true,
      Interval: "10s",
    });
    expect(problems).toEqual([
      'left out SERVICE_CHECK_INITIAL_STATUS="fine": it must be passing, warning or critical',
      'left out SERVICE_CHECK_INTERVAL="banana": it must be a duration such as 10s',
    ]);
  });
});

describe("Docker's HEALTHCHECK", () => {
  const serviceOf = (health: string, env: string[] = []) =>
    servicesOf(container({ name: "c", ports: { "80/tcp": "8000" }, health, env }), options).services[0];

  it.each([
    ["starting", "warning"],
    ["healthy", "passing"],
    ["unhealthy", "critical"],
    ["none", undefined],
  ])("%s maps to %s", (health, expected) => {
    const service = serviceOf(health);
    expect(service?.health).toBe(expected);
    expect(service?.registration.Check?.TTL).toBe(expected && "8760h");
  });

  it("starts with the status from SERVICE_CHECK_INITIAL_STATUS", () => {
    expect(serviceOf("starting", ["SERVICE_CHECK_INITIAL_STATUS=passing"])?.health).toBe("passing");
    expect(serviceOf("unhealthy", ["SERVICE_CHECK_INITIAL_STATUS=passing"])?.health).toBe("critical");
  });

  it("yields to SERVICE_CHECK_*", () => {
    const service = serviceOf("healthy", ["SERVICE_CHECK_TCP=true"]);
    expect(service?.health).toBeUndefined();
    expect(service?.registration.Check?.TCP).toBe("192.168.1.102:8000");
  });
});

import { expect, it } from "vitest";
import { container, options, type Given } from "../fixtures";
import { servicesOf } from "../service/services";
import { survivalOf, usualStopMs } from "./survival";

const atMs = Date.parse("2026-11-28T09:00:00Z");
const told = { signals: ["15"], atMs };

function survives(given: Partial<Given>, waitedSeconds: number, killGraceSeconds?: number): boolean {
  const inspect = container({ name: "web", ports: { "80/tcp": "8000" }, startedAtMs: atMs - 1, ...given });
  const { services } = servicesOf(inspect, options);
  return survivalOf(inspect, services, told, waitedSeconds * 1000, killGraceSeconds).goesOn;
}

const swarm = { labels: { "com.docker.swarm.task.id": "x" } };
const passed = (...seconds: number[]) => ({
  health: "healthy",
  passedAtMs: seconds.map((second) => atMs + second * 1000),
});

it.each<[string, Partial<Given>, number, number | undefined, boolean]>([
  ["without a check, its own timeout proves nothing", { stopTimeout: 10 }, 16, undefined, false],
  ["without a check, an hour does", {}, 3_601, undefined, true],
  ["a longer timeout of its own counts", { stopTimeout: 7_200 }, 3_700, undefined, false],
  ["no timeout of its own is a long one", { stopTimeout: -1, ...passed(300) }, 301, undefined, false],
  ["healthy from before its stop signal", passed(-5), 120, undefined, false],
  ["healthy while it may still drain", passed(5, 30, 59), 62, undefined, false],
  ["healthy afterwards", passed(59, 61), 62, undefined, true],
  ["healthy after its own timeout", { stopTimeout: 100, ...passed(104) }, 110, undefined, false],
  ["healthy well after its own timeout", { stopTimeout: 100, ...passed(106) }, 110, undefined, true],
  ["no check of Docker's passes", { health: "unhealthy" }, 4_000, undefined, false],
  ["Consul's own check decides", { env: ["SERVICE_CHECK_TCP=true"] }, 61, undefined, true],
  ["Consul's own check decides later", { env: ["SERVICE_CHECK_TCP=true"] }, 50, undefined, false],
  ["a Swarm task", { ...swarm, ...passed(70) }, 71, undefined, false],
  ["a Swarm task after an hour", swarm, 3_601, undefined, true],
  ["-kill-grace", {}, 3, 2, true],
  ["-kill-grace, earlier", passed(1), 1, 2, false],
  ["-kill-grace and a Swarm task", swarm, 3, 2, true],
  ["started again", { startedAtMs: atMs + 1 }, 1, undefined, true],
  ["its stop signal is another one", { stopSignal: "SIGQUIT" }, 1, undefined, false],
])("%s", (_, given, waitedSeconds, killGraceSeconds, expected) => {
  expect(survives(given, waitedSeconds, killGraceSeconds)).toBe(expected);
});

it("says what would prove that it goes on, once its own timeout has passed", () => {
  const pending = (given: Partial<Given>, waitedSeconds: number) => {
    const survival = survivalOf(
      container({ name: "web", ...given }),
      [],
      told,
      waitedSeconds * 1000,
      undefined,
    );
    return survival.goesOn ? "" : survival.pending;
  };
  expect(pending({}, 14)).toBeUndefined();
  expect(pending(swarm, 100)).toBeUndefined();
  expect(pending({}, 16)).toBe(
    "it was told to stop and may still end; it gets requests again if it still runs 60 minutes after its stop signal, or is restarted",
  );
  expect(pending({ health: "healthy" }, 16)).toBe(
    "it was told to stop and may still end; it gets requests again if it passes a health check that begins 1 minute after its stop signal, or is restarted",
  );
});

it("a signal that is not the container's stop signal ends nothing", () => {
  const nginx = container({ name: "web", stopSignal: "SIGQUIT" });
  const after = (signals: string[]) => survivalOf(nginx, [], { signals, atMs }, 0, undefined).goesOn;
  expect(after(["1"])).toBe(true);
  expect(after(["3", "1"])).toBe(false);
});

it.each([
  [{}, undefined, 15_000],
  [{ stopTimeout: 30 }, undefined, 35_000],
  [{ stopTimeout: -1 }, undefined, 15_000],
  [{ stopTimeout: 30 }, 2, 2_000],
])("%j with -kill-grace %s usually ends within %s ms", (given, killGraceSeconds, expected) => {
  expect(usualStopMs(container({ name: "web", ...given }), killGraceSeconds)).toBe(expected);
});

import { createHello } from "./server";

const { PORT, NAME, VERSION, DRAIN_SECONDS, GRACE_SECONDS } = process.env;
const port = Number(PORT ?? 8080);
const drainSeconds = Number(DRAIN_SECONDS ?? 5);
// Swarm kills a container ten seconds after its stop signal; exit before that.
const graceSeconds = Number(GRACE_SECONDS ?? 9);
const log = (line: string): void => {
  console.log(line);
};
if (!(port >= 0 && port < 65536 && drainSeconds >= 0 && graceSeconds >= drainSeconds)) {
  console.error(
    `PORT=${PORT ?? "8080"} DRAIN_SECONDS=${DRAIN_SECONDS ?? "5"} GRACE_SECONDS=${GRACE_SECONDS ?? "9"}: ` +
      "PORT must be a port, and DRAIN_SECONDS a number of seconds that does not exceed GRACE_SECONDS",
  );
  process.exit(1);
}

const hello = createHello({
  name: NAME ?? "hello",
  version: VERSION ?? "",
  drainSeconds,
  graceSeconds,
  log,
});
hello.server.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
hello.server.listen(port, () => {
  const address = hello.server.address();
  log(`listening on port ${typeof address === "object" && address !== null ? address.port : port}`);
});
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    void hello.drain().then(() => process.exit(0));
  });
}

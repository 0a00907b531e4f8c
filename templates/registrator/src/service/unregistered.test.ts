import { describe, expect, it } from "vitest";
import { decisive } from "../../../../routing/registration";
import { readNotices } from "../../../../routing/notices";
import { container, options, type Given } from "../fixtures";
import { hasOurForm } from "../consul/plan";
import { servicesOf } from "./services";
import { noticeServices } from "./unregistered";

const env = ["SERVICE_NAME=web/v1", "SERVICE_TAGS=rest"];
const unpublished = { name: "c", image: "app", ports: { "8080/tcp": null }, env };
const found = (given: Partial<Given>, own: Partial<typeof options> = {}, owner?: Given) => {
  const { services, problems, notices } = servicesOf(
    container({ ...unpublished, ...given }),
    { ...options, ...own },
    owner && container(owner),
  );
  expect(services).toEqual([]);
  return { problems, notices };
};

describe("a container without a port that can be reached", () => {
  it.each<[string, Partial<Given>, string]>([
    ["not published", {}, "its port 8080 is not published; start it with -P or -p 8080"],
    ["nothing exposed", { ports: {} }, "it publishes no port; start it with -p PORT"],
    [
      "published through Swarm's ingress network",
      { networks: { ingress: "10.0.0.5", docker_gwbridge: "172.18.0.3" } },
      "its ports are published through Swarm's ingress network, which hides the instances; publish them with mode=host",
    ],
    ["on the host's network", { ports: {}, mode: "host" }, "it exposes no port; add --expose PORT"],
    [
      "named for a port only",
      { env: ["SERVICE_8080_NAME=web/v1", "SERVICE_8080_TAGS=rest"], ports: {} },
      "it publishes no port; start it with -p PORT",
    ],
  ])("%s", (_, given, why) => {
    expect(found(given)).toEqual({
      problems: [`container c: not registered: ${why}`],
      notices: [{ container: "c", service: "web/v1", why }],
    });
  });

  it("shares the network of one that does not publish its port", () => {
    const owner = { name: "pod", ports: { "8080/tcp": null } };
    expect(found({ exposed: ["8080/tcp"], ports: {} }, {}, owner).problems).toEqual([
      "container c: not registered: container pod, whose network it shares, does not publish its port; publish it there, and EXPOSE 8080 in this one's image",
    ]);
  });

  it("exposes nothing for -internal", () => {
    expect(found({ ports: {} }, { internal: true }).problems).toEqual([
      "container c: not registered: it exposes no port; add --expose PORT",
    ]);
  });

  it("is logged, and not shown, if it does not ask for load balancing", () => {
    const { problems, notices } = found({ env: ["SERVICE_NAME=db"] });
    expect(problems).toHaveLength(1);
    expect(notices).toEqual([]);
  });

  it("is shown under its image's name, and with a tag that is nearly right", () => {
    expect(found({ env: ["SERVICE_TAGS=REST"] }).notices).toMatchObject([{ service: "app" }]);
  });

  it.each<[string, Partial<Given>, Partial<typeof options>]>([
    ["it asks for nothing", { env: [] }, {}],
    ["it is ignored", { env: [...env, "SERVICE_IGNORE=true"] }, {}],
    ["its only port is ignored", { env: [...env, "SERVICE_8080_IGNORE=true"] }, {}],
    [
      "its published port is ignored",
      { env: [...env, "SERVICE_8080_IGNORE=1"], ports: { "8080/tcp": "1" } },
      {},
    ],
    [
      "labels that decide alone say so, whatever its image says",
      {
        env: [...env, "SERVICE_8080_IGNORE=false", "SERVICE_9090_NAME=bank/v9"],
        labels: { ...decisive({ SERVICE_IGNORE: "true" }), SERVICE_9091_TAGS: "rest" },
      },
      {},
    ],
    ["-explicit, without a name", { env: ["SERVICE_TAGS=rest"] }, { explicit: true }],
  ])("is not mentioned if %s", (_, given, own) => {
    expect(found(given, own)).toEqual({ problems: [], notices: [] });
  });
});

it("each service of a container without published ports is mentioned", () => {
  const named = ["SERVICE_8080_NAME=web", "SERVICE_9090_NAME=admin", "SERVICE_9091_NAME=admin"];
  const exposed = ["8080/tcp", "9090/tcp", "9091/tcp"];
  const { notices, problems } = found({ env: [...named, "SERVICE_TAGS=rest"], exposed });
  expect(notices.map(({ service, why }) => [service, why])).toEqual([
    ["web", "its port 8080 is not published; start it with -P or -p 8080"],
    ["admin", "its port 9090 is not published; start it with -P or -p 9090"],
  ]);
  expect(problems).toHaveLength(2);
});

it("other ports of a registered container are not mentioned", () => {
  const given = container({ ...unpublished, ports: { "8080/tcp": "8000", "9090/tcp": null } });
  expect(servicesOf(given, options)).toMatchObject({ services: [{}], problems: [], notices: [] });
});

it("load balancers are told why a port is rejected", () => {
  const given = { ports: { "8080/tcp": "8000" }, env: ["SERVICE_NAME=a//b", "SERVICE_TAGS=rest"] };
  expect(found(given).notices).toMatchObject([
    {
      service: "a//b",
      why: expect.stringMatching(/^it is not registered as "a\/\/b": .*; set another/) as string,
    },
  ]);
});

it("one service carries the notices, and Registrator knows it as its own", () => {
  expect(noticeServices([], options)).toEqual([]);
  const [service] = noticeServices(found({}).notices, options);
  const { ID: id, Name: name, Meta: meta } = service?.registration ?? { ID: "", Name: "", Meta: {} };
  expect(hasOurForm(id, options.hostname)).toBe(true);
  const instance = { service: name, id, node: "n", address: "", port: 0, tags: [], meta, healthy: true };
  expect(readNotices([instance])).toMatchObject([{ container: "c", service: "web/v1", node: "n" }]);
});

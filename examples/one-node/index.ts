import * as pulumi from "@pulumi/pulumi";
import {
  Consul,
  ConsulAccess,
  ConsulCertificates,
  ConsulTokens,
  enforcePolicy,
  Images,
  LoadBalancer,
  LocalNode,
  parseService,
  planRouting,
  RandomKey,
  Registrator,
  Service,
  SwarmCluster,
} from "switchyard/components";

// A separate Pulumi program that uses the components without this project's configuration. It turns this machine's Docker
// Engine into a node that routes every container on port 8000, and runs one service of its own.
const config = new pulumi.Config();
const dockerHost = "unix:///var/run/docker.sock";
const ports = { http: 8000, stats: 8001, admin: 8002, consul: 8500, dns: 53 };
const shop = parseService(
  { name: "shop/v1", build: "hello", port: 8080, replicas: 2, env: { NAME: "shop" } },
  "shop",
);
const routing = planRouting([shop], ports);
enforcePolicy();

const node = new LocalNode("here", {
  dockerHost,
  ports: { http: ports.http, stats: ports.stats, admin: ports.admin, consul: ports.consul, dns: ports.dns },
});
const images = new Images([node], { base: config.require("baseImage"), source: dockerHost });

const tokens = new ConsulTokens("consul", { nodes: [node], generation: 1 });
const certificates = new ConsulCertificates("consul", { nodes: [node], servers: [node] });
const consul = new Consul("consul", {
  node,
  servers: [node],
  gossipKey: new RandomKey("gossip", { bytes: 32 }).key,
  tokens,
  certificates,
  image: images.build("consul", { base: config.require("consulImage") }),
  httpPort: ports.consul,
  dnsPort: ports.dns,
});
const access = new ConsulAccess("consul", { agents: [{ node, consul }], tokens, certificates });
const registrator = new Registrator("registrator", {
  node,
  image: images.build("registrator"),
  socketProxyImage: images.build("haproxy"),
  consul: consul.httpAddress,
  token: access.registratorToken,
});
const password = new RandomKey("statistics", { bytes: 16 }).key;
const loadBalancer = new LoadBalancer("rest", {
  node,
  image: images.build("haproxy"),
  consul: consul.httpAddress,
  token: access.loadBalancerToken,
  ports,
  statsUser: "admin",
  statsPassword: password,
});
access.enforceAfter([registrator, loadBalancer]);

const swarm = new SwarmCluster("swarm", { members: [{ node, after: [registrator, loadBalancer] }] });
new Service(shop.name, {
  config: shop,
  swarm,
  image: images.build("hello"),
  dns: node.bridgeAddress,
});

export const urls = loadBalancer.urlsOf(routing);
export const statsPassword = password;

import * as pulumi from "@pulumi/pulumi";

import { loadConfig } from "./components/config";
import { Consul } from "./components/consul";
import { Images } from "./components/image";
import { LoadBalancer } from "./components/load-balancer";
import { createNodes } from "./components/nodes";
import { Registrator } from "./components/registrator";
import { describeRoutes, planRouting } from "./components/routing";
import { Service } from "./components/service";
import { Swarm } from "./components/docker/swarm";

// From the configuration to a running stack, in the order in which the parts need each other.
const config = loadConfig();
const routing = planRouting(config.services, config.ports);
const [node] = createNodes(config);
const images = new Images(node, { base: config.baseImage });

const consul = new Consul("consul", {
  node,
  image: images.build("consul", { base: config.consulImage }),
  httpPort: config.ports.consul,
  dnsPort: config.ports.dns,
});

const registrator = new Registrator("registrator", {
  node,
  image: config.registratorImage ?? images.build("registrator"),
  consul: consul.httpAddress,
});

const loadBalancer = new LoadBalancer("rest", {
  node,
  image: images.build("haproxy"),
  consul: consul.httpAddress,
  ports: config.ports,
  https: config.https,
  statsUser: config.statsUser,
  statsPassword: config.statsPassword,
});

const swarm = new Swarm("swarm", {
  host: node.host,
  advertiseAddr: node.address,
  owner: pulumi.getStack(),
});

for (const service of config.services) {
  const { source } = service;
  new Service(
    service.name,
    {
      config: service,
      manager: node.host,
      swarmId: swarm.swarmId,
      image: "image" in source ? source.image : images.build(source.build),
      dns: node.bridgeAddress,
    },
    { dependsOn: [registrator, loadBalancer] },
  );
}

export const urls = loadBalancer.urlsOf(routing);
export const routes = describeRoutes(routing);
export const admin = loadBalancer.adminUrl;
export const statistics = loadBalancer.statsUrl;
export const statsUser = config.statsUser;
export const statsPassword = config.statsPassword;
export const consulPage = pulumi.interpolate`http://${node.publicAddress}:${config.ports.consul}`;
export const nodes = [{ name: node.name, address: node.address, publicAddress: node.publicAddress }];

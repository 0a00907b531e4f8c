import type { Resource } from "@pulumi/pulumi";

import { Autoscaler } from "./components/autoscaler";
import { loadConfig } from "./components/config";
import { inOrder } from "./components/config/dependencies";
import { hasInternalPort } from "./components/config/ports";
import { Consul } from "./components/consul";
import { ConsulAccess } from "./components/consul-access";
import { ConsulCertificates } from "./components/consul-certificates";
import { ConsulTokens } from "./components/consul-tokens";
import { Dumps } from "./components/dumps";
import { Firewall } from "./components/firewall";
import { Images } from "./components/image";
import { LoadBalancer } from "./components/load-balancer";
import { adminNetworks, createNodes } from "./components/nodes";
import { bridgeAddressOf, quorum, type DockerNode } from "./components/nodes/node";
import { enforcePolicy } from "./components/policy";
import { Networks } from "./components/networks";
import { nodesWantedBy } from "./components/nodes-wanted";
import { portKeys } from "./components/ports";
import { RandomKey } from "./components/random-key";
import { Registrator } from "./components/registrator";
import { describeRoutes, describeServices, planRouting } from "./components/routing";
import { Service } from "./components/service";
import { SwarmCluster } from "./components/swarm-cluster";
import { SwarmFiles } from "./components/swarm-files";
import { Volumes } from "./components/volumes";

// From the configuration to a running stack, in order of dependency.
const config = loadConfig();
const routing = planRouting(config.services, config.ports);
enforcePolicy();
const dockerNodes = createNodes(config);
const images = new Images(dockerNodes, {
  base: config.baseImage,
  source: config.dockerHost,
  registry: config.registry,
  secrets: config.secrets,
  logins: config.registries,
});
const gossipKey = new RandomKey("gossip", { bytes: 32 }).key;

const tokens = new ConsulTokens("consul", { nodes: dockerNodes, generation: config.consulTokenGeneration });
const servers = quorum(dockerNodes);
const certificates = new ConsulCertificates("consul", { nodes: dockerNodes, servers });

// On every node: an agent of Consul, which does nothing for whoever has no token.
type Agent = ReturnType<typeof agentOn>;
function agentOn(node: DockerNode, before?: Consul) {
  const consul = new Consul(
    `consul-${node.name}`,
    {
      node,
      servers,
      gossipKey,
      tokens,
      certificates,
      image: images.build("consul", { base: config.consulImage }),
      httpPort: config.ports.consul,
      dnsPort: config.ports.dns,
    },
    // An update takes one away at a time, and none while a machine changes.
    { dependsOn: before ?? dockerNodes.flatMap(({ returned }) => returned ?? []) },
  );
  return { node, consul };
}
const [first, ...others] = dockerNodes;
const agents: [Agent, ...Agent[]] = [agentOn(first)];
for (const node of others) agents.push(agentOn(node, agents.at(-1)?.consul));
const access = new ConsulAccess("consul", { agents, tokens, certificates });

// Beside it: Registrator, which registers the node's containers, the load balancer, which routes to them, and a firewall, which
// keeps everything else from the world. An update replaces those of one node at a time too, and ends at the first that fails.
type Parts = ReturnType<typeof partsOf>;
function partsOf({ node, consul }: Agent, before: Resource[] = []) {
  const registrator = new Registrator(
    `registrator-${node.name}`,
    {
      node,
      image: config.registratorImage ?? images.build("registrator"),
      socketProxyImage: images.buildOn(node, "haproxy"),
      consul: consul.httpAddress,
      token: access.registratorToken,
      original: config.registratorImage === undefined ? undefined : { tokenVersion: access.version },
    },
    { dependsOn: [consul, ...before] },
  );
  const loadBalancer = new LoadBalancer(
    `rest-${node.name}`,
    {
      node,
      image: images.build("haproxy"),
      consul: consul.httpAddress,
      token: access.loadBalancerToken,
      dns: consul.dnsAddress,
      ports: config.ports,
      https: config.https,
      authorities: config.certificateAuthorities,
      trustedProxies: config.trustedProxies,
      proxyProtocol: config.proxyProtocol,
      // A node that joins replaces the load balancers then.
      nodes: config.services.some(hasInternalPort) ? dockerNodes : [],
      statsUser: config.statsUser,
      statsPassword: config.statsPassword,
    },
    { dependsOn: [consul, ...before] },
  );
  const firewalls = config.firewall
    ? [
        new Firewall(`firewall-${node.name}`, {
          node,
          nodes: dockerNodes,
          // Once this node has it, and no later: a new node gets into Consul only through the others' firewalls.
          image: images.buildOn(node, "firewall"),
          socket: registrator.socket,
          adminCidrs: adminNetworks(config),
          statsPort: config.ports.stats,
        }),
      ]
    : [];
  return { node, loadBalancer, socket: registrator.socket, after: [registrator, loadBalancer, ...firewalls] };
}
const [firstAgent, ...otherAgents] = agents;
const parts: [Parts, ...Parts[]] = [partsOf(firstAgent)];
for (const agent of otherAgents) parts.push(partsOf(agent, parts.at(-1)?.after));
access.enforceAfter(parts.flatMap(({ after }) => after));

// Across all nodes: the Swarm and its services.
const swarm = new SwarmCluster("swarm", { members: parts });

if (config.autoscaler !== "off" || config.hasJobs) {
  new Autoscaler(
    "autoscaler",
    {
      nodes: parts,
      image: (node) => images.buildOn(node, "autoscaler"),
      consul: firstAgent.consul.httpAddress,
      token: access.autoscalerToken,
      port: config.ports.autoscaler ?? 0,
      jobsOnly: config.autoscaler === "off",
      dry: config.autoscaler === "dry",
      limits: config.choosesLimits,
    },
    // One of them looks for services in the Swarm.
    { dependsOn: swarm },
  );
}
const nodeVolumes = new Volumes(config.services, swarm);
const networks = new Networks(config.services, swarm);
const files = new SwarmFiles({ ...config, swarm });
const dumps = config.services.some(({ backup }) => backup?.dump !== undefined)
  ? [new Dumps("dumps", { ...config, nodes: dockerNodes, image: (node) => images.buildOn(node, "backup") })]
  : [];
const running = new Map<string, Service>();
for (const service of inOrder(config.services)) {
  const { name, source } = service;
  const needed = service.depends_on.flatMap((other) => running.get(other) ?? []);
  const args = {
    config: service,
    swarm,
    volumes: nodeVolumes,
    networks,
    files,
    logins: config.registries,
    image: "image" in source ? source.image : images.of(service.swarmName, source.build),
    dns: bridgeAddressOf(dockerNodes),
  };
  const dependsOn = [...needed, ...(service.socket === undefined ? [] : dumps)];
  running.set(name, new Service(name, args, { dependsOn }));
}

const [{ loadBalancer }] = parts;
export const urls = loadBalancer.urlsOf(routing);
export const routes = describeRoutes(routing, config.services);
export const services = describeServices(config.services);
export const volumes = nodeVolumes.placed;
export const ports = portKeys(config.ports);
export const admin = loadBalancer.adminUrl;
export const statistics = loadBalancer.statsUrl;
export const statsUser = config.statsUser;
export const statsPassword = config.statsPassword;
export const consulPage = `http://localhost:${config.ports.consul}`;
export const consulToken = access.operatorToken;
export const nodesWanted = nodesWantedBy(swarm, [...running.values()]);
export const nodes = parts.map(({ node, loadBalancer }) => ({
  name: node.name,
  address: node.address,
  publicAddress: node.publicAddress,
  url: loadBalancer.url,
}));

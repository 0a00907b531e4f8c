/** Converts the provider's container arguments to Docker's create request, following resource_docker_container_funcs.go. */
import { readFileSync } from "node:fs";
import type Docker from "dockerode";
import { UserError } from "../../lib/errors";
import { isMapping } from "../../lib/values";
import { type Wire, type WireMap } from "../wire";
import type { Entry } from "../../lib/build-context";
import { flag, given, labelMap, list, maps, nanoseconds, number, record, text, texts } from "./values";

export const CONTAINER_INPUTS = [
  "capabilities", "cgroupParent", "cgroupnsMode", "command", "cpuPeriod", "cpuQuota", "cpuSet", "cpuShares", "cpus",
  "destroyGraceSeconds", "devices", "dns", "dnsOpts", "dnsSearches", "domainname", "entrypoints", "envs", "groupAdds",
  "healthcheck", "hostname", "hosts", "image", "init", "ipcMode", "labels", "logDriver", "logOpts", "maxRetryCount",
  "memory", "memoryReservation", "memorySwap", "mounts", "mustRun", "name", "networkMode", "networksAdvanced", "pidMode",
  "ports", "privileged", "publishAllPorts", "readOnly", "removeVolumes", "restart", "runtime", "securityOpts", "shmSize",
  "start", "stdinOpen", "stopSignal", "stopTimeout", "storageOpts", "sysctls", "tmpfs", "tty", "ulimits", "uploads",
  "user", "usernsMode", "volumes", "wait", "waitTimeout", "workingDir",
]; // prettier-ignore

const MIB = 1024 * 1024;
const mib = (value: Wire | undefined): number | undefined => {
  const n = number(value);
  return n === undefined ? undefined : n > 0 ? n * MIB : n;
};
const orNone = <T>(values: T[]): T[] | undefined => (values.length > 0 ? values : undefined);

function health(value: Wire | undefined): Docker.HealthConfig | undefined {
  if (!isMapping(value)) return undefined;
  if (value.startInterval !== undefined) {
    throw new UserError(
      "`healthcheck.startInterval` needs Docker 25, and the engine may be older: remove it.",
    );
  }
  return given({
    Test: texts(value.tests),
    Interval: nanoseconds(value.interval, "healthcheck.interval"),
    Timeout: nanoseconds(value.timeout, "healthcheck.timeout"),
    StartPeriod: nanoseconds(value.startPeriod, "healthcheck.startPeriod"),
    Retries: number(value.retries),
  });
}

function mount(value: WireMap): Docker.MountConfig[number] {
  const bind = isMapping(value.bindOptions) ? text(value.bindOptions.propagation) : undefined;
  const volume = isMapping(value.volumeOptions) ? value.volumeOptions : undefined;
  const tmpfs = isMapping(value.tmpfsOptions) ? value.tmpfsOptions : undefined;
  return given({
    Type: text(value.type),
    Target: text(value.target),
    Source: text(value.source) ?? "",
    ReadOnly: flag(value.readOnly) ?? false,
    BindOptions: bind && { Propagation: bind },
    VolumeOptions: volume && {
      NoCopy: flag(volume.noCopy) ?? false,
      Labels: labelMap(volume.labels),
      DriverConfig: { Name: text(volume.driverName) ?? "", Options: record(volume.driverOptions) },
    },
    TmpfsOptions: tmpfs && given({ SizeBytes: number(tmpfs.sizeBytes), Mode: number(tmpfs.mode) }),
  }) as Docker.MountConfig[number];
}

function bindOf(volume: WireMap): string | undefined {
  const source = text(volume.hostPath) ?? text(volume.volumeName);
  if (source === undefined) return undefined;
  const options = [flag(volume.readOnly) ? "ro" : "rw", text(volume.selinuxRelabel)].filter(Boolean).join();
  return `${source}:${text(volume.containerPath) ?? ""}:${options}`;
}

interface Ports {
  exposed: Record<string, object>;
  bindings: Record<string, { HostPort: string; HostIp: string }[]>;
}

function portsOf(value: Wire | undefined): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const port of maps(value)) {
    const key = `${String(number(port.internal) ?? 0)}/${text(port.protocol) ?? "tcp"}`;
    ports.exposed[key] = {};
    // Without `external`, Docker picks an ephemeral port.
    (ports.bindings[key] ??= []).push({
      HostPort: text(port.external) ?? "",
      HostIp: text(port.ip) ?? "0.0.0.0",
    });
  }
  return ports;
}

function cpus(value: Wire | undefined): number | undefined {
  if (value === undefined) return undefined;
  const count = Number(text(value));
  if (!(count > 0))
    throw new UserError(`\`cpus\`: ${JSON.stringify(value)} is not a number of CPUs: write "0.5".`);
  return Math.round(count * 1e9);
}

/** The options that can change on a running container. */
export function updatable(news: WireMap): WireMap {
  return given({
    RestartPolicy: { Name: text(news.restart) ?? "no", MaximumRetryCount: number(news.maxRetryCount) ?? 0 },
    CpuShares: number(news.cpuShares) ?? 0,
    CpusetCpus: text(news.cpuSet) ?? "",
    Memory: mib(news.memory) ?? 0,
    MemoryReservation: mib(news.memoryReservation) ?? 0,
    MemorySwap: mib(news.memorySwap) as Wire,
  });
}

export function createOptions(
  news: WireMap,
  own: Readonly<Record<string, string>>,
): Docker.ContainerCreateOptions {
  const { exposed, bindings } = portsOf(news.ports);
  const capabilities = isMapping(news.capabilities) ? news.capabilities : {};
  const volumes = maps(news.volumes);
  return given({
    name: text(news.name),
    Image: text(news.image),
    Hostname: text(news.hostname),
    Domainname: text(news.domainname),
    User: text(news.user),
    Env: texts(news.envs).sort(),
    Cmd: orNone(texts(news.command)),
    Entrypoint: orNone(texts(news.entrypoints)),
    WorkingDir: text(news.workingDir),
    Labels: { ...labelMap(news.labels), ...own },
    Tty: flag(news.tty),
    OpenStdin: flag(news.stdinOpen),
    StopSignal: text(news.stopSignal),
    StopTimeout: number(news.stopTimeout),
    Healthcheck: health(news.healthcheck),
    ExposedPorts: exposed,
    Volumes: Object.fromEntries(
      volumes
        .filter((v) => !bindOf(v) && v.containerPath !== undefined)
        .map((v) => [text(v.containerPath), {}]),
    ) as Record<string, object>,
    HostConfig: given({
      ...updatable(news),
      PortBindings: bindings,
      Binds: orNone(volumes.map(bindOf).filter((b) => b !== undefined)),
      VolumesFrom: orNone(texts(volumes.map((v) => v.fromContainer ?? null)).filter(Boolean)),
      Mounts: orNone(maps(news.mounts).map(mount)),
      Tmpfs: news.tmpfs === undefined ? undefined : record(news.tmpfs),
      Privileged: flag(news.privileged),
      PublishAllPorts: flag(news.publishAllPorts),
      ReadonlyRootfs: flag(news.readOnly),
      CapAdd: orNone(texts(capabilities.adds)),
      CapDrop: orNone(texts(capabilities.drops)),
      SecurityOpt: orNone(texts(news.securityOpts)),
      Dns: orNone(texts(news.dns)),
      DnsOptions: orNone(texts(news.dnsOpts)),
      DnsSearch: orNone(texts(news.dnsSearches)),
      ExtraHosts: orNone(maps(news.hosts).map((h) => `${text(h.host) ?? ""}:${text(h.ip) ?? ""}`)),
      Ulimits: orNone(
        maps(news.ulimits).map((u) => ({ Name: text(u.name), Soft: number(u.soft), Hard: number(u.hard) })),
      ),
      Devices: orNone(
        maps(news.devices).map((d) => ({
          PathOnHost: text(d.hostPath),
          PathInContainer: text(d.containerPath) ?? text(d.hostPath),
          CgroupPermissions: text(d.permissions) ?? "rwm",
        })),
      ),
      GroupAdd: orNone(texts(news.groupAdds)),
      Sysctls: news.sysctls === undefined ? undefined : record(news.sysctls),
      StorageOpt: news.storageOpts === undefined ? undefined : record(news.storageOpts),
      LogConfig:
        news.logDriver === undefined && news.logOpts === undefined
          ? undefined
          : { Type: text(news.logDriver) ?? "", Config: record(news.logOpts) },
      NetworkMode: text(news.networkMode) ?? "bridge",
      PidMode: text(news.pidMode),
      IpcMode: text(news.ipcMode),
      UsernsMode: text(news.usernsMode),
      CgroupnsMode: text(news.cgroupnsMode),
      CgroupParent: text(news.cgroupParent),
      Runtime: text(news.runtime),
      ShmSize: mib(news.shmSize),
      NanoCpus: cpus(news.cpus),
      CpuPeriod: news.cpus === undefined ? number(news.cpuPeriod) : undefined,
      CpuQuota: news.cpus === undefined ? number(news.cpuQuota) : undefined,
      Init: flag(news.init),
    }),
  });
}

export interface Attachment {
  readonly network: string;
  readonly endpoint: Docker.EndpointSettings;
}

export function attachments(news: WireMap): Attachment[] {
  return maps(news.networksAdvanced).map((n) => ({
    network: text(n.name) ?? "",
    endpoint: given({
      Aliases: orNone(texts(n.aliases)),
      IPAMConfig: given({
        IPv4Address: text(n.ipv4Address),
        IPv6Address: text(n.ipv6Address),
        LinkLocalIPs: orNone(texts(n.linkLocalIps)),
      }),
      MacAddress: text(n.macAddress),
      DriverOpts:
        orNone(texts(n.driverOpts)) &&
        (Object.fromEntries(texts(n.driverOpts).map((o) => o.split("=", 2))) as Record<string, string>),
    }),
  }));
}

export function uploads(news: WireMap): Entry[] {
  return maps(news.uploads).map((upload) => {
    const file = text(upload.file) ?? "";
    const sources = ["content", "contentBase64", "source"].filter((key) => upload[key] !== undefined);
    if (sources.length !== 1) {
      throw new UserError(`\`uploads\` of ${file}: set exactly one of content, contentBase64 and source.`);
    }
    const content =
      upload.source === undefined
        ? Buffer.from(
            text(upload.content ?? upload.contentBase64) ?? "",
            upload.content === undefined ? "base64" : "utf8",
          )
        : readFileSync(text(upload.source) ?? "");
    const mode = upload.permissions === undefined ? (flag(upload.executable) ? 0o744 : 0o644) : undefined;
    return {
      path: file.replace(/^\/+/, ""),
      mode: mode ?? Number.parseInt(text(upload.permissions) ?? "644", 8),
      content,
    };
  });
}

export const hasHealthCheck = (news: WireMap): boolean =>
  isMapping(news.healthcheck) && list(news.healthcheck.tests).length > 0;

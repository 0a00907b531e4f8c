/**
 * User data for the first boot of a Debian machine, on every target that creates machines. Pure, so that a preview can show
 * it and golden files can test it.
 */
import { stringify } from "yaml";

import { aptConfig, aptScript, type AptSettings } from "./apt-settings";

/** A key pair in OpenSSH's format. */
export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

export interface UserDataArgs {
  /** The machine's host name. */
  readonly name: string;
  /** Public key that may log in. */
  readonly authorizedKey: string;
  /** The machine's SSH host key. Generated here, so that even the first connection can verify it. */
  readonly hostKey: KeyPair;
  /** Where packages come from. Default: Debian's own archive. */
  readonly apt?: AptSettings | undefined;
}

/**
 * The user that Switchyard logs in as. Membership in the group `docker` is all it needs: the engine itself mounts its
 * socket and folders into containers. Access to Docker amounts to root, but no step needs root or sudo, and root cannot log
 * in.
 */
export const user = "switchyard";

/** Exists once the machine is set up. On disk, because only the first boot sets it up. */
export const readyFile = "/var/lib/switchyard/ready";

/** The address of the metadata service, the same on every cloud. */
export const metadataAddress = "169.254.169.254";

const lines = (...content: readonly string[]): string => `${content.join("\n")}\n`;

/** `#cloud-config` for a Debian machine that becomes a node. */
export function userData({ name, authorizedKey, hostKey, apt = {} }: UserDataArgs): string {
  const files: Record<string, string> = {
    "/etc/docker/daemon.json": lines(
      JSON.stringify({ "log-driver": "json-file", "log-opts": { "max-size": "10m", "max-file": "3" } }),
    ),
    // Keep containers away from the cloud's metadata service, which serves this user data too.
    "/etc/systemd/system/docker.service.d/metadata.conf": lines(
      "[Service]",
      `ExecStartPost=/bin/sh -c 'iptables -C DOCKER-USER ${rule} 2>/dev/null || iptables -I DOCKER-USER ${rule}'`,
    ),
    // An update opens one connection per resource.
    "/etc/ssh/sshd_config.d/10-switchyard.conf": lines(
      "MaxStartups 100:30:300",
      "MaxSessions 100",
      "PermitRootLogin no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "X11Forwarding no",
    ),
    "/etc/systemd/journald.conf.d/switchyard.conf": lines("[Journal]", "SystemMaxUse=200M"),
    "/etc/apt/apt.conf.d/90-switchyard": lines(
      'APT::Periodic::Update-Package-Lists "1";',
      'APT::Periodic::Unattended-Upgrade "1";',
      'APT::Periodic::AutocleanInterval "7";',
      // Upgrading these would restart every container on the node. Replace the machine instead, one node at a time.
      'Unattended-Upgrade::Package-Blacklist { "^docker"; "^containerd$"; "^runc$"; };',
      'Unattended-Upgrade::Automatic-Reboot "false";',
      'Acquire::Retries "5";',
      // Docker recommends git and some twenty others, which a node does not need.
      'APT::Install-Recommends "false";',
    ),
  };
  return `#cloud-config\n${stringify(
    {
      hostname: name,
      preserve_hostname: false,
      disable_root: true,
      ssh_pwauth: false,
      groups: ["docker"],
      users: [
        {
          name: user,
          gecos: "Switchyard",
          // Of adm, so that it may read why a first boot has failed.
          groups: ["docker", "adm"],
          shell: "/bin/bash",
          lock_passwd: true,
          ssh_authorized_keys: [authorizedKey],
        },
      ],
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private: hostKey.privateKey, ed25519_public: hostKey.publicKey },
      write_files: Object.entries(files).map(([path, content]) => ({ path, permissions: "0644", content })),
      ...aptConfig(apt),
      package_update: true,
      packages: ["docker.io", "docker-cli", "iptables", "unattended-upgrades"],
      runcmd: [
        // sshd may have started before its configuration and host key were written.
        ["systemctl", "try-restart", "ssh"],
        ["sh", "-c", `docker info >/dev/null && mkdir -p ${folderOf(readyFile)} && touch ${readyFile}`],
      ],
    },
    { lineWidth: 0 },
  )}`;
}

const rule = `-d ${metadataAddress} -p tcp --dport 80 -j DROP`;

const folderOf = (file: string): string => file.slice(0, file.lastIndexOf("/"));

export interface NetworkArgs {
  /** MAC address of the adapter to the outside, configured by DHCP. */
  readonly outside: string;
  /** The adapter to the other nodes: MAC address, and IPv4 address with prefix length. */
  readonly inside: { readonly mac: string; readonly address: string };
}

/** Network configuration (version 2) for machines whose private address we choose. Matches adapters by MAC address. */
export function networkConfig({ outside, inside }: NetworkArgs): string {
  return stringify({
    version: 2,
    ethernets: {
      outside: { match: { macaddress: outside }, dhcp4: true },
      inside: { match: { macaddress: inside.mac }, addresses: [inside.address] },
    },
  });
}

/** NoCloud's `meta-data`. A changed instance ID makes cloud-init run again. */
export function metaData(name: string): string {
  return stringify({ "instance-id": name, "local-hostname": name });
}

/**
 * Startup script for images without cloud-init, such as Google's Debian: installs cloud-init and runs it once. The image's
 * own network configuration stays.
 */
export const installCloudInit = (apt: AptSettings = {}): string => `#!/bin/sh
set -e
[ ! -e ${readyFile} ] || exit 0
command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud.cfg.d/95-switchyard.cfg ] && exit 0
mkdir -p /etc/cloud/cloud.cfg.d
cat >/etc/cloud/cloud.cfg.d/95-switchyard.cfg <<'END'
datasource_list: [GCE]
network: { config: disabled }
END
export DEBIAN_FRONTEND=noninteractive
${aptScript(apt)}# Try until it works: another apt may hold a lock, which "update" does not wait for, or the network may not be up. The guest
# agent runs this script again only at the next boot.
until dpkg --configure -a &&
  apt-get -o Acquire::Retries=5 update &&
  apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=60 install -y --no-install-recommends cloud-init; do
  sleep 5
done
# As in a normal boot, later stages run even if one fails. "up" reads the errors from cloud-init.
cloud-init init --local || :
cloud-init init || :
cloud-init modules --mode=config || :
cloud-init modules --mode=final || :
`;

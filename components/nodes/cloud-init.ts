/**
 * What a fresh Debian machine is told at its first boot, on every target that makes machines. Pure, so that a preview
 * shows it and tests hold it against golden files.
 */
import { stringify } from "yaml";

/** A key pair in OpenSSH's formats. */
export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

export interface UserDataArgs {
  /** The machine's host name. */
  readonly name: string;
  /** Public key of whoever may log in. */
  readonly authorizedKey: string;
  /** The machine's own key: known here before the first contact, so that nothing has to be trusted blindly. */
  readonly hostKey: KeyPair;
}

/**
 * The user that Switchyard logs in as. It is in the group `docker`, which is all that is needed: the engine itself
 * opens its socket for Registrator and mounts the folders. Not root, and no sudo: who may use Docker can become root
 * by it anyway, but nothing here has to, and a login as root stays off.
 */
export const user = "switchyard";

/** There once the machine is set up; on disk, since the first boot sets up all. */
export const readyFile = "/var/lib/switchyard/ready";

/** The machine's address of a metadata service, the same on every cloud. */
const metadata = "169.254.169.254";

const lines = (...content: readonly string[]): string => `${content.join("\n")}\n`;

/** `#cloud-config` for a Debian machine that becomes a node. */
export function userData({ name, authorizedKey, hostKey }: UserDataArgs): string {
  const files: Record<string, string> = {
    "/etc/docker/daemon.json": lines(
      JSON.stringify({ "log-driver": "json-file", "log-opts": { "max-size": "10m", "max-file": "3" } }),
    ),
    // A container gets at what the cloud tells the machine, this file included, unless it is kept from it.
    "/etc/systemd/system/docker.service.d/metadata.conf": lines(
      "[Service]",
      `ExecStartPost=/bin/sh -c 'iptables -C DOCKER-USER ${rule} 2>/dev/null || iptables -I DOCKER-USER ${rule}'`,
    ),
    // An update opens one connection for each thing that it makes.
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
      // These restart every container of the node; they come with a new machine, one node at a time.
      'Unattended-Upgrade::Package-Blacklist { "^docker"; "^containerd$"; "^runc$"; };',
      'Unattended-Upgrade::Automatic-Reboot "false";',
      'Acquire::Retries "5";',
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
          groups: ["docker"],
          shell: "/bin/bash",
          lock_passwd: true,
          ssh_authorized_keys: [authorizedKey],
        },
      ],
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private: hostKey.privateKey, ed25519_public: hostKey.publicKey },
      write_files: Object.entries(files).map(([path, content]) => ({ path, permissions: "0644", content })),
      package_update: true,
      packages: ["docker.io", "docker-cli", "iptables", "unattended-upgrades"],
      runcmd: [
        // Where sshd ran before its configuration and key were there.
        ["systemctl", "try-restart", "ssh"],
        ["sh", "-c", `docker info >/dev/null && mkdir -p ${folderOf(readyFile)} && touch ${readyFile}`],
      ],
    },
    { lineWidth: 0 },
  )}`;
}

const rule = `-d ${metadata} -p tcp --dport 80 -j DROP`;

const folderOf = (file: string): string => file.slice(0, file.lastIndexOf("/"));

export interface NetworkArgs {
  /** MAC address of the adapter that leads outside, by DHCP. */
  readonly outside: string;
  /** MAC address and IPv4 address with prefix length of the adapter that leads to the other nodes. */
  readonly inside: { readonly mac: string; readonly address: string };
}

/** The network configuration (version 2) of a machine whose private address is chosen here: adapters by their MAC. */
export function networkConfig({ outside, inside }: NetworkArgs): string {
  return stringify({
    version: 2,
    ethernets: {
      outside: { match: { macaddress: outside }, dhcp4: true },
      inside: { match: { macaddress: inside.mac }, addresses: [inside.address] },
    },
  });
}

/** NoCloud's `meta-data`. Another id makes the machine set itself up anew. */
export function metaData(name: string): string {
  return stringify({ "instance-id": name, "local-hostname": name });
}

/**
 * Startup script for images without cloud-init, as Google's Debian is: installs it and lets it do its work, once. The
 * network is left as the image has it.
 */
export const installCloudInit = `#!/bin/sh
set -e
[ ! -e ${readyFile} ] || exit 0
command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud.cfg.d/95-switchyard.cfg ] && exit 0
mkdir -p /etc/cloud/cloud.cfg.d
cat >/etc/cloud/cloud.cfg.d/95-switchyard.cfg <<'END'
datasource_list: [GCE]
network: { config: disabled }
END
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=5 update
apt-get -o Acquire::Retries=5 install -y --no-install-recommends cloud-init
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
`;

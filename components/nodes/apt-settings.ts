/** Where the machines that the program creates get their packages from: keys of `machine` on all such targets. */
import { text } from "../schema";

/** Nothing in it means anything to a shell, to apt or to YAML. */
const url = text(
  /^https?:\/\/[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:\/[A-Za-z0-9._~-]+)*$/,
  'a URL without a slash at its end, such as "http://mirror.example.com/debian"',
);

/** The keys of `machine`. */
export const aptSettings = {
  aptMirror: url
    .optional()
    .describe(
      "mirror of Debian's archive; security updates come from the same URL with `-security` at its end",
    ),
  proxy: url.optional().describe("HTTP proxy through which the machines get their packages"),
};

export interface AptSettings {
  readonly aptMirror?: string | undefined;
  readonly proxy?: string | undefined;
}

/** The part of `#cloud-config`. */
export function aptConfig({ aptMirror, proxy }: AptSettings): object {
  if (aptMirror === undefined && proxy === undefined) return {};
  const mirror = (uri: string) => [{ arches: ["default"], uri }];
  return {
    apt: {
      ...(proxy !== undefined && { proxy, https_proxy: proxy }),
      ...(aptMirror !== undefined && {
        // Debian's own setting is true, with which the mirrors mean nothing.
        preserve_sources_list: false,
        primary: mirror(aptMirror),
        security: mirror(`${aptMirror}-security`),
      }),
    },
  };
}

/** The same for a script that runs before cloud-init. It leaves the machine's own sources alone. */
export function aptScript({ aptMirror, proxy }: AptSettings): string {
  if (aptMirror === undefined && proxy === undefined) return "";
  const sources = "/run/switchyard-apt.list";
  const options = [
    ...(proxy === undefined ? [] : [`Acquire::http::Proxy "${proxy}";`, `Acquire::https::Proxy "${proxy}";`]),
    ...(aptMirror === undefined ? [] : [`Dir::Etc::SourceList "${sources}";`, 'Dir::Etc::SourceParts "-";']),
  ];
  return `export APT_CONFIG=/run/switchyard-apt.conf
cat >$APT_CONFIG <<'END'
${options.join("\n")}
END
${aptMirror === undefined ? "" : `echo "deb ${aptMirror} $(. /etc/os-release && echo "$VERSION_CODENAME") main" >${sources}\n`}`;
}

/** Every routing option. Written by script/generate from the files in this folder. */
import { balance } from "./balance";
import { healthPath } from "./health-path";
import { host } from "./host";
import { internal } from "./internal";
import { maxconn } from "./maxconn";
import { path } from "./path";
import { proto } from "./proto";
import { redirectSlash } from "./redirect-slash";
import { restorePrefix } from "./restore-prefix";
import { retries } from "./retries";
import { sticky } from "./sticky";
import { stripPrefix } from "./strip-prefix";
import { tcpPort } from "./tcp-port";
import { timeoutServer } from "./timeout-server";
import { tlsCa } from "./tls-ca";
import { tlsServerName } from "./tls-server-name";
import { tlsVerify } from "./tls-verify";
import { weight } from "./weight";

export const options = [
  balance,
  healthPath,
  host,
  internal,
  maxconn,
  path,
  proto,
  redirectSlash,
  restorePrefix,
  retries,
  sticky,
  stripPrefix,
  tcpPort,
  timeoutServer,
  tlsCa,
  tlsServerName,
  tlsVerify,
  weight,
] as const;

/** The schema of `registries`: logins for private images. */
import { z } from "zod";

import { mapping, text } from "../schema";

const host = /^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d{1,5})?$/;
const hostForm = "the host of a registry, such as ghcr.io, docker.io or 10.0.0.5:5000";

const login = mapping({
  username: text(/^[\x21-\x7e]{1,256}$/, "a user name without spaces"),
  password: text(/^[^\p{Cc}]{1,16384}$/u, "a password or a token"),
});
export const registryLogins = z.record(z.string().regex(host, { error: `it must be ${hostForm}` }), login, {
  error: "it must be a mapping of keys to values",
});

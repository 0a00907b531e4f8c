/** The login with which nodes pull a service's image: Swarm keeps it, encrypted, and gives it to nodes with the instances. */
import { loginFor, registryOf, type Login, type Logins } from "../../lib/credentials";
import { messageOf } from "../../lib/errors";

/** Undefined if there is none. Swarm then keeps the service's last one. */
export async function pullLogin(image: string, logins: Logins | undefined): Promise<Login | undefined> {
  // Every node has those that are in no registry.
  if (image.startsWith("switchyard/")) return undefined;
  try {
    return await loginFor(registryOf(image), logins);
  } catch (error) {
    // Most images are public.
    console.warn(`${image} is pulled without a login: ${messageOf(error)}`);
    return undefined;
  }
}

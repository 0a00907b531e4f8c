export { isTaken, listens } from "../../../../lib/tcp";

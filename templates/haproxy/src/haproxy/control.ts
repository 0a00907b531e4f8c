/** What the renderer needs of the HAProxy process, whoever owns it. */
export interface HaproxyControl {
  readonly running: boolean;
  /** The ports of HTTPS and of TCP services in the loaded configuration, including services that have no instances left. */
  readonly ports: ReadonlySet<number>;
  /**
   * Starts HAProxy with its files, or has a running HAProxy load them.
   *
   * @param ports - those ports in the configuration file
   * @throws Error with HAProxy's complaint; an HAProxy that was running then goes on as before
   */
  load(ports: ReadonlySet<number>): Promise<void>;
}

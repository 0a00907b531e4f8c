/** What the renderer needs of the HAProxy process, whoever owns it. */
export interface HaproxyControl {
  readonly running: boolean;
  /** The ports of the TCP services in the loaded configuration, including services that have no instances left. */
  readonly tcpPorts: ReadonlySet<number>;
  /**
   * Starts HAProxy with its files, or has a running HAProxy load them.
   *
   * @param tcpPorts - the ports of the TCP services in the configuration file
   * @throws Error with HAProxy's complaint; an HAProxy that was running then goes on as before
   */
  load(tcpPorts: ReadonlySet<number>): Promise<void>;
}

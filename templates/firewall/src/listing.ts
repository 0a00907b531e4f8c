import { Complaint } from "../../../lib/complaint";
import { messageOf } from "../../../lib/errors";
import type { Instances } from "./instances";

/** The instances that Docker lists, or those that it listed last. */
export class Listing {
  /** Whether Docker has failed to list them since. */
  isOld = false;
  private last: Instances | undefined;
  private readonly complaint: Complaint;

  constructor(
    private readonly list: () => Promise<Instances>,
    log: (line: string) => void,
  ) {
    this.complaint = new Complaint(log);
  }

  /** @throws Error if Docker has never listed any */
  async instances(): Promise<Instances> {
    try {
      this.last = await this.list();
      this.isOld = false;
      this.complaint.clear();
    } catch (error) {
      if (this.last === undefined) throw error;
      this.isOld = true;
      this.complaint.about(
        `Docker did not list the instances (${messageOf(error)}); those that it listed last stay in the rules`,
      );
    }
    return this.last;
  }
}

/** The release of Switchyard, for image labels and the load balancer's status. */
export const version = "0.1.0";

/** The release of Switchyard, in image labels and in what the load balancer says about itself. */
export const version = "0.1.0";

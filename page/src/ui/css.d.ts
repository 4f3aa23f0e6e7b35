/** Style sheets that the bundler gathers. */
declare module "*.css";

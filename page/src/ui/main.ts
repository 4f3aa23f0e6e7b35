/** What one sees; the numerics are asked for everything. */
export {};

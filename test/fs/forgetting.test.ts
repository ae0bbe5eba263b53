import { afterEach, beforeEach, expect, it } from "vitest";
import { Rig } from "./rig.ts";

const MANY = 1000;
let rig: Rig;
let nodes: bigint[];
beforeEach(() => {
  rig = new Rig();
  nodes = Array.from({ length: MANY }, (_, i) => rig.create(`f${i}`).node);
});
afterEach(() => rig.close());

it("many that are forgotten together are deleted bit by bit, but not one that is looked up again", () => {
  rig.forgetMany(nodes);
  expect(rig.lookup("f0").node).toBe(nodes[0]);
  expect(rig.inodes.count).toBe(MANY + 1);
  expect(rig.inodes.reviewForgotten()).toBe(true);
  expect(rig.inodes.count).toBeGreaterThan(MANY / 2);
  while (rig.inodes.reviewForgotten());
  expect(rig.inodes.count).toBe(2);
  expect(rig.getattr(nodes[0]!).error).toBe(0);
});

it("none is left that only a killed engine knew to be forgotten", () => {
  rig.forgetMany(nodes);
  rig.inodes.reviewForgotten();
  rig.restart();
  expect(rig.inodes.count).toBe(1);
});

it("the record of a file that got the place of another one meanwhile is not deleted", () => {
  rig.forgetMany(nodes);
  const [first] = nodes;
  rig.lookup("f0");
  rig.forget(first!);
  const { node, slot } = rig.create("new");
  expect(slot).toBe(Number(first! & 0xffffffffn) - 1);
  rig.inodes.records.setLookups(slot, 0); // as it is while one that is being made waits
  while (rig.inodes.reviewForgotten());
  expect(rig.getattr(node).error).toBe(0);
});

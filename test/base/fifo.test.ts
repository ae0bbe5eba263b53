import fc from "fast-check";
import { expect, test } from "vitest";
import { Fifo } from "../../src/base/fifo.ts";

test("it is what an array is, whatever comes and goes", () => {
  const step = fc.oneof(fc.record({ push: fc.integer({ min: 1, max: 3000 }) }), fc.record({ shift: fc.nat(3000) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const fifo = new Fifo<number>();
      const model: number[] = [];
      let next = 0;
      for (const act of steps) {
        if ("push" in act) {
          const more = Array.from({ length: act.push }, () => next++);
          model.push(...more);
          for (const item of more) fifo.push(item);
        } else {
          for (const item of model.splice(0, act.shift)) expect(fifo.shift()).toBe(item);
          if (model.length === 0) expect(fifo.shift()).toBeUndefined();
        }
        expect(fifo.length).toBe(model.length);
        expect(fifo.last).toBe(model.at(-1));
        for (const index of [-1, 0, 1, 1500, 9000]) expect(fifo.at(index)).toBe(model[index]);
        expect([...fifo]).toEqual(model);
      }
    }),
    { numRuns: 30 },
  );
});

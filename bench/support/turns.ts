/** Rounds: in each, every workload is given to every contestant in turn, in an order that rotates. */
export async function takeTurns<Contestant, Workload>(
  rounds: number,
  workloads: readonly Workload[],
  contestants: readonly Contestant[],
  say: (line: string) => void,
  measure: (contestant: Contestant, workload: Workload, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    say(`round ${round + 1} of ${rounds}`);
    for (const [turn, workload] of workloads.entries()) {
      for (let place = 0; place < contestants.length; place += 1) {
        await measure(contestants[(place + round + turn) % contestants.length]!, workload, round);
      }
    }
  }
}

/* The reference model in plain C: what a good programmer would write by hand for this one model.

   One species on a periodic cube with six neighbours. Every cell tries to divide at rate 0.1, dies at
   0.05 and tries to hop at 1.0 per hour; a daughter or a hopping cell needs the neighbour drawn to be
   vacant, else nothing happens. Exact: all cells have the same total rate, so a candidate event is an
   exponential waiting time, a cell drawn from the list of living ones, and what it does.

   cc -O3 -march=native -DSIDE=64 reference.c -o reference -lm
   ./reference SEED FILLED UNTIL     (share of sites filled at the start, hours)

   Prints one line: executed attempts cells seconds (CPU time of the event loop). */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef SIDE
#define SIDE 64
#endif
#define SITES (SIDE * SIDE * SIDE)
#define VACANT (-1)

/* other rates, for the account of where time goes: -DBIRTH=0.0 and so on */
#ifndef BIRTH
#define BIRTH 0.1
#endif
#ifndef DEATH
#define DEATH 0.05
#endif
#ifndef HOP
#define HOP 1.0
#endif

static int32_t *cells; /* sites of the living cells, in no order */
static int32_t *place; /* where a site stands in `cells`, or VACANT */

/* xoshiro256++ by Blackman and Vigna, public domain. */
static uint64_t state[4];

static inline uint64_t rotated(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static inline uint64_t draw(void)
{
    const uint64_t result = rotated(state[0] + state[3], 23) + state[0];
    const uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotated(state[3], 45);
    return result;
}

static inline double uniform(void) { return (double)(draw() >> 11) * 0x1p-53; }

/* splitmix64 */
static void seed_generator(uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        state[i] = z ^ (z >> 31);
    }
}

static inline int32_t neighbour(int32_t site, unsigned direction)
{
    const int32_t x = site % SIDE, y = site / SIDE % SIDE, z = site / (SIDE * SIDE);
    switch (direction) {
    case 0: return x == SIDE - 1 ? site - (SIDE - 1) : site + 1;
    case 1: return x == 0 ? site + (SIDE - 1) : site - 1;
    case 2: return y == SIDE - 1 ? site - (SIDE - 1) * SIDE : site + SIDE;
    case 3: return y == 0 ? site + (SIDE - 1) * SIDE : site - SIDE;
    case 4: return z == SIDE - 1 ? site - (SIDE - 1) * SIDE * SIDE : site + SIDE * SIDE;
    default: return z == 0 ? site + (SIDE - 1) * SIDE * SIDE : site - SIDE * SIDE;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s SEED FILLED UNTIL\n", argv[0]);
        return 2;
    }
    seed_generator(strtoull(argv[1], NULL, 10));
    const double filled = atof(argv[2]), until = atof(argv[3]);
    cells = malloc(SITES * sizeof *cells);
    place = malloc(SITES * sizeof *place);
    if (!cells || !place)
        return 1;

    int32_t n = 0;
    const int32_t wanted = (int32_t)(filled * SITES);
    for (int32_t i = 0; i < SITES; i++)
        place[i] = VACANT;
    while (n < wanted) {
        const int32_t site = (int32_t)(uniform() * SITES);
        if (place[site] == VACANT) {
            place[site] = n;
            cells[n++] = site;
        }
    }

    uint64_t attempts = 0, executed = 0;
    double t = 0.0;
    const double each = BIRTH + DEATH + HOP;
    const clock_t started = clock();
    while (n > 0) {
        t -= log(1.0 - uniform()) / (n * each);
        if (t >= until)
            break;
        attempts++;
        const int32_t i = (int32_t)(uniform() * n);
        const int32_t site = cells[i];
        const double what = uniform() * each;
        if (what < DEATH) {
            const int32_t last = cells[--n];
            cells[i] = last;
            place[last] = i;
            place[site] = VACANT;
            executed++;
            continue;
        }
        const int32_t other = neighbour(site, (unsigned)(((draw() >> 32) * 6) >> 32));
        if (place[other] != VACANT)
            continue;
        if (what < DEATH + BIRTH) {
            place[other] = n;
            cells[n++] = other;
        } else {
            place[other] = i;
            cells[i] = other;
            place[site] = VACANT;
        }
        executed++;
    }
    const double seconds = (double)(clock() - started) / CLOCKS_PER_SEC;
    printf("%llu %llu %d %.6f\n", (unsigned long long)executed, (unsigned long long)attempts, n,
           seconds);
    return 0;
}

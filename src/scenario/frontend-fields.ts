import { choice, count, field, LIMITS, map, quantity } from './field-kinds.js';

/** Fields of `frontend`. */
export const FRONTEND_FIELDS = map(
  {
    preprocess: field(
      {
        type: 'either',
        scalar: quantity('time'),
        map: map({
          base: field(quantity('time'), 'Time per request', '0 ms'),
          rate: field(quantity('token rate', { positive: true }), 'Prompt tokens a core gets through', 'no limit'),
          cores: field(count(1, LIMITS.workers), 'Cores of each replica, each with one request at a time', '1'),
        }),
      },
      'Tokenisation and parsing, in order of arrival: a burst queues here',
      '0 ms',
    ),
    dispatch: field(quantity('time'), 'Hop to the router, the same for every request', '0 ms'),
    replicas: field(count(1, LIMITS.replicas), 'Frontends, each with routers (counters, loads, queue, affinity, predictions, draws) and preprocessing cores of its own; all hear of workers and of KV events', '1'),
    balance: field(choice(['round_robin', 'random', 'session']), "Which replica a request goes to: in turn, drawn, or that of its session's first request, which goes in turn", 'round_robin'),
    sync: field(
      { type: 'either', scalar: { type: 'enum', values: ['off'] }, map: map({ delay: field(quantity('time'), 'Time a message takes', '0 ms') }) },
      'Replicas tell each other what they sent where, first tokens and ends, and count all of it as load; off = each knows of its own requests alone',
      'off',
    ),
  },
  { later: ['migration', 'detection', 'cancel', 'deadlines', 'retries', 'drain', 'admission', 'route', 'gateway'] },
);

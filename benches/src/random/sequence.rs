//! Recurrent layers, attention and embeddings.

use nas_nn::Init;
use nas_nn::op::{Attention, Gru, Lstm};
use serde_json::json;

use super::{Axes, Operation, Sketch};

pub(super) const ALL: &[Operation] = &[
    Operation { name: "embedding", on: Axes::Start, add: embedding },
    Operation { name: "embedding_in", on: Axes::Start, add: embedding_in },
    Operation { name: "embedding_table", on: Axes::Start, add: embedding_table },
    Operation { name: "lstm", on: Axes::Exactly(2), add: lstm },
    Operation { name: "lstm_with_state", on: Axes::Exactly(2), add: lstm_with_state },
    Operation { name: "lstm_cell", on: Axes::Exactly(1), add: lstm_cell },
    Operation { name: "gru", on: Axes::Exactly(2), add: gru },
    Operation { name: "gru_with_state", on: Axes::Exactly(2), add: gru_with_state },
    Operation { name: "attention", on: Axes::Exactly(2), add: attention },
    Operation { name: "attention_packed", on: Axes::Exactly(2), add: attention_packed },
    Operation { name: "self_attention", on: Axes::Exactly(2), add: self_attention },
    Operation { name: "rotary", on: Axes::AtLeast(2), add: rotary },
    Operation { name: "reverse", on: Axes::AtLeast(1), add: reverse },
];

/// Tokens of one text, or one an example.
fn tokens(s: &mut Sketch<'_>, count: usize) -> usize {
    if s.coin() {
        let steps = s.between(2, 6);
        s.classes(&[steps], count, 0)
    } else {
        s.classes(&[], count, 0)
    }
}

fn embedding(s: &mut Sketch<'_>, _: usize) -> Option<usize> {
    let (count, width) = (s.between(2, 9), s.between(2, 6));
    let tokens = tokens(s, count);
    Some(s.op("embedding", &[tokens], json!({}), |v| v[0].embedding(count, width)))
}

fn embedding_in(s: &mut Sketch<'_>, _: usize) -> Option<usize> {
    let dims = [s.between(2, 9), s.between(2, 6)];
    let (tokens, table) = (tokens(s, dims[0]), s.parameter(&dims));
    Some(s.op("embedding_in", &[tokens, table], json!({}), |v| v[0].embedding_in(v[1])))
}

/// The table as the weights of a linear map as well.
fn embedding_table(s: &mut Sketch<'_>, _: usize) -> Option<usize> {
    let (count, width) = (s.between(2, 9), s.between(2, 6));
    let tokens = tokens(s, count);
    let init = Init::Normal { std: 0.5 };
    let table = s.op("embedding_table", &[tokens], json!({}), |v| v[0].embedding_table(count, width, init));
    let x = s.op("embedding_in", &[tokens, table], json!({}), |v| v[0].embedding_in(v[1]));
    let x = s.unary("tanh", x, |v| v.tanh());
    Some(s.op("linear_tied", &[x, table], json!({}), |v| v[0].linear_tied(v[1])))
}

/// What a recurrent layer reads beside its sequence: `states` first states or none, and lengths or none.
struct Beside {
    inputs: Vec<usize>,
    initial: bool,
    lengths: bool,
}

fn beside(s: &mut Sketch<'_>, x: usize, units: usize, states: usize) -> Beside {
    let (initial, lengths) = (s.coin(), s.coin());
    let mut inputs = vec![x];
    if initial {
        inputs.extend((0..states).map(|_| s.fresh(&[units])));
    }
    if lengths {
        let steps = s.dims(x)[0];
        inputs.push(s.lengths(steps, 0));
    }
    Beside { inputs, initial, lengths }
}

fn lstm(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.between(1, 6);
    let Beside { inputs, initial, lengths } = beside(s, x, units, 2);
    Some(s.op("lstm", &inputs, json!({ "initial": initial, "lengths": lengths }), |v| {
        v[0].lstm(settings_of_lstm(v, units, initial, lengths))
    }))
}

fn settings_of_lstm<'g>(v: &[nas_nn::Var<'g>], units: usize, initial: bool, lengths: bool) -> Lstm<'g> {
    let lstm = Lstm::new(units);
    let lstm = if initial { lstm.initial(v[1], v[2]) } else { lstm };
    if lengths { lstm.lengths(v[v.len() - 1]) } else { lstm }
}

fn lstm_with_state(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.between(1, 6);
    let Beside { inputs, initial, lengths } = beside(s, x, units, 2);
    let with = json!({ "initial": initial, "lengths": lengths });
    let results = s.ops("lstm_with_state", &inputs, with, |v| {
        let (all, (h, c)) = v[0].lstm_with_state(settings_of_lstm(v, units, initial, lengths));
        vec![all, h, c]
    });
    let last = s.op("mul", &results[1..], json!({}), |v| v[0] * v[1]);
    Some(s.op("add", &[results[0], last], json!({}), |v| v[0] + v[1]))
}

fn lstm_cell(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.between(1, 6);
    let inputs = [x, s.fresh(&[units]), s.fresh(&[units])];
    let state = s.ops("lstm_cell", &inputs, json!({}), |v| {
        let (h, c) = v[0].lstm_cell((v[1], v[2]), units);
        vec![h, c]
    });
    Some(s.op("sub", &state, json!({}), |v| v[0] - v[1]))
}

fn settings_of_gru<'g>(v: &[nas_nn::Var<'g>], units: usize, initial: bool, lengths: bool) -> Gru<'g> {
    let gru = Gru::new(units);
    let gru = if initial { gru.initial(v[1]) } else { gru };
    if lengths { gru.lengths(v[v.len() - 1]) } else { gru }
}

fn gru(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.between(1, 6);
    let Beside { inputs, initial, lengths } = beside(s, x, units, 1);
    Some(s.op("gru", &inputs, json!({ "initial": initial, "lengths": lengths }), |v| {
        v[0].gru(settings_of_gru(v, units, initial, lengths))
    }))
}

fn gru_with_state(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let units = s.between(1, 6);
    let Beside { inputs, initial, lengths } = beside(s, x, units, 1);
    let with = json!({ "initial": initial, "lengths": lengths });
    let results = s.ops("gru_with_state", &inputs, with, |v| {
        let (all, h) = v[0].gru_with_state(settings_of_gru(v, units, initial, lengths));
        vec![all, h]
    });
    Some(s.op("mul", &results, json!({}), |v| v[0] * v[1]))
}

fn settings_of_attention<'g>(lengths: Option<&nas_nn::Var<'g>>, heads: usize, causal: bool) -> Attention<'g> {
    let attention = Attention::new(heads);
    let attention = if causal { attention.causal() } else { attention };
    lengths.map_or(attention, |&lengths| attention.lengths(lengths))
}

/// Adds lengths of at least one key to `inputs`, or not.
fn lengths_of_keys(s: &mut Sketch<'_>, inputs: &mut Vec<usize>, keys: usize) -> bool {
    let lengths = s.coin();
    if lengths {
        inputs.push(s.lengths(keys, 1));
    }
    lengths
}

fn attention(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (heads, causal, keys) = (s.between(1, 3), s.coin(), s.between(1, 6));
    let width = heads * s.between(1, 4);
    let queries = s.op("linear", &[x], json!({}), |v| v[0].linear(width));
    let mut inputs = vec![queries, s.beside(queries, &[keys, width]), s.beside(queries, &[keys, width])];
    let lengths = lengths_of_keys(s, &mut inputs, keys);
    let with = json!({ "heads": heads, "causal": causal, "lengths": lengths });
    Some(
        s.op("attention", &inputs, with, |v| {
            v[0].attention(v[1], v[2], settings_of_attention(v.get(3), heads, causal))
        }),
    )
}

fn attention_packed(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (heads, causal, keys) = (s.between(1, 3), s.coin(), s.dims(x)[0]);
    let width = heads * s.between(1, 4);
    let mut inputs = vec![s.op("linear", &[x], json!({}), |v| v[0].linear(3 * width))];
    let lengths = lengths_of_keys(s, &mut inputs, keys);
    let with = json!({ "heads": heads, "causal": causal, "lengths": lengths });
    Some(s.op("attention_packed", &inputs, with, |v| {
        v[0].attention_packed(settings_of_attention(v.get(1), heads, causal))
    }))
}

fn self_attention(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let (width, causal, keys) = (s.last(x), s.coin(), s.dims(x)[0]);
    let divisors: Vec<usize> = (1..=width).filter(|heads| width.is_multiple_of(*heads)).collect();
    let heads = divisors[s.below(divisors.len())];
    let mut inputs = vec![x];
    let lengths = lengths_of_keys(s, &mut inputs, keys);
    let with = json!({ "heads": heads, "causal": causal, "lengths": lengths });
    Some(s.op("self_attention", &inputs, with, |v| v[0].self_attention(settings_of_attention(v.get(1), heads, causal))))
}

fn reverse(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    Some(s.unary("reverse", x, |v| v.reverse()))
}

fn rotary(s: &mut Sketch<'_>, x: usize) -> Option<usize> {
    let width = 2 * s.between(1, 4);
    let x = s.op("linear", &[x], json!({}), |v| v[0].linear(width));
    let base = s.number(10.0, 10_000.0);
    Some(s.op("rotary", &[x], json!({ "base": base }), |v| v[0].rotary(base)))
}

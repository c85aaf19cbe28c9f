//! `nas space`: search spaces, built in or from a file.

use std::sync::Arc;

use nas_core::space::Limits;
use nas_core::{Architecture, Purpose, SearchSpace, Seed};
use nas_nn::costs::NetworkCosts;
use nas_nn::evaluator::{LATENCY, TrainingCost, training_cost};
use nas_nn::family::{self, Blocks, Family};

use crate::calibration;
use crate::cli;
use crate::config;
use crate::error::Result;
use crate::output::{self, Output};
use crate::{limits, statistics};

/// Architectures drawn to tell what networks of a space cost.
const COSTED: usize = 200;

/// Lists, shows, checks, samples or counts.
pub(crate) fn run(command: &cli::Space, output: Output) -> Result<()> {
    match command {
        cli::Space::List => list(output),
        cli::Space::Show(args) => {
            let (space, _) = config::space_without_data(&args.space)?;
            output.json(&space);
            output.answer(space.to_toml().trim_end());
            Ok(())
        }
        cli::Space::Check(args) => {
            let (space, family) = config::space_without_data(&args.space)?;
            check(&space, &family, limits::of(&space, &args.limits), output)
        }
        cli::Space::Sample(args) => {
            let (space, family) = config::space_without_data(&args.space)?;
            let space = kept(&space, &family, space.limits().clone())?;
            let mut rng = Seed::new(args.seed).stream(Purpose::Propose, 0);
            for _ in 0..args.number {
                let architecture = space.sample(&mut rng);
                output.json(&architecture);
                output.answer(architecture.to_string());
            }
            Ok(())
        }
        cli::Space::Count(args) => {
            let (space, _) = config::space_without_data(&args.space)?;
            let size = space.cardinality().to_string();
            output.json(&serde_json::json!({"space": space.name(), "architectures": size}));
            output.answer(size);
            Ok(())
        }
    }
}

fn list(output: Output) -> Result<()> {
    let mut rows = Vec::new();
    for family in family::families().into_iter().chain([family::family("blocks")?]) {
        let size = family.space(&family.usual_task())?.cardinality().to_string();
        output.json(&serde_json::json!({"space": family.name(), "architectures": size, "about": family.describe()}));
        rows.push(vec![family.name().to_owned(), size, family.describe().to_owned()]);
    }
    output.answer(output::table(&["space", "architectures", "networks"], &[1], rows));
    Ok(())
}

/// The space under limits, for the task that its family is shown for.
fn kept(space: &SearchSpace, family: &Arc<dyn Family>, limits: Limits) -> Result<SearchSpace> {
    limits::keep(space, limits, Arc::clone(family), &family.usual_task(), &family.search_recipe(), usize::MAX)
}

/// Size, decisions, options that nothing has, what the networks cost, and how many keep to limits.
fn check(space: &SearchSpace, family: &Arc<dyn Family>, limits: Limits, output: Output) -> Result<()> {
    let limited = if limits.is_empty() { None } else { Some(kept(space, family, limits)?) };
    let family = &**family;
    let mut rng = Seed::new(0).stream(Purpose::Propose, 0);
    let (task, batch) = (family.usual_task(), family.search_recipe().batch);
    let cost = |architecture: &Architecture| -> Result<[u64; 3]> {
        let cost: TrainingCost = training_cost(family, architecture, &task, batch)?;
        Ok([cost.cost.parameters, cost.cost.madds, cost.memory])
    };
    let drawn: Vec<Architecture> = (0..COSTED).map(|_| space.sample(&mut rng)).collect();
    let costs: Vec<[u64; 3]> = drawn.iter().map(cost).collect::<Result<_>>()?;
    let default = cost(&family.default_architecture())?;
    let size = space.cardinality().to_string();

    let mut rows = Vec::new();
    for (i, name) in ["parameters", "multiply-adds", "training memory, bytes"].into_iter().enumerate() {
        let mut order: Vec<usize> = (0..costs.len()).collect();
        order.sort_by_key(|&number| costs[number][i]);
        let [least, median, most] = [0, order.len() / 2, order.len() - 1].map(|place| order[place]);
        let found_least = descend(space, &drawn[least], &|architecture| Ok(cost(architecture)?[i]))?;
        let found_most = descend(space, &drawn[most], &|architecture| Ok(u64::MAX - cost(architecture)?[i]))?;
        let [least, median, most] = [least, median, most].map(|number| costs[number][i]);
        let found = [found_least, u64::MAX - found_most];
        output.json(&serde_json::json!({
            "figure": name, "found_least": found[0], "least": least, "median": median, "most": most, "found_most": found[1],
            "default": default[i],
        }));
        let cells = [found[0], least, median, most, found[1], default[i]].map(|n| output::short(n as f64));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    if let Some(calibration) = calibration::usable()? {
        let latency = |architecture: &Architecture| calibration.predict(family, architecture, &task);
        let all = drawn.iter().map(|architecture| Ok(latency(architecture)?.seconds));
        let mut all: Vec<f64> = all.collect::<Result<_>>()?;
        all.sort_by(f64::total_cmp);
        let figures =
            [all[0], all[all.len() / 2], all[all.len() - 1], latency(&family.default_architecture())?.seconds];
        let [least, median, most, default] = figures.map(|seconds| 1e3 * seconds);
        output.json(
            &serde_json::json!({"figure": LATENCY, "least": least, "median": median, "most": most, "default": default}),
        );
        let cells = figures.map(output::latency);
        rows.push(std::iter::once("predicted latency".to_owned()).chain(cells).collect());
    }
    let slots = space.slots();
    let decisions =
        slots.iter().map(|slot| vec![slot.path.clone(), slot.options.len().to_string(), slot.options.join(" ")]);
    let dead = dead(space);
    let dead_json: Vec<_> =
        dead.iter().map(|(path, options)| serde_json::json!({"decision": path, "options": options})).collect();
    output.json(
        &serde_json::json!({"space": space.name(), "architectures": size, "decisions": slots.len(), "dead": dead_json}),
    );
    output.answer(format!("{}: {size} architectures, {} decisions\n", space.name(), slots.len()));
    output.answer(output::table(&["decision", "options", ""], &[1], decisions.collect()));
    if !dead.is_empty() {
        let rows = dead.into_iter().map(|(path, options)| vec![path, options.join(" ")]).collect();
        let header = ["decision", "options that no architecture has: conditions or the data rule them out"];
        output.answer(format!("\n{}", output::table(&header, &[], rows)));
    }
    let blocks = if space.network().is_some() { Some(Blocks::new(space.clone())?) } else { None };
    let unused = blocks.as_ref().map(Blocks::unused).unwrap_or_default();
    if !unused.is_empty() {
        output.answer(format!("\nNo block looks at {}: that is searched in vain.", unused.join(", ")));
    }
    let header = ["", "found", "least", "median", "most", "found", "default"];
    output.answer(format!(
        "\nOf {COSTED} networks drawn evenly, for {task}, and the extremes found from there, change by change:\n{}",
        output::table(&header, &[1, 2, 3, 4, 5, 6], rows)
    ));
    if let Some(limited) = limited {
        under(&limited, &costs, cost, output)?;
    }
    Ok(())
}

/// How much of the space keeps to limits, of networks drawn evenly, and the cheapest network.
fn under(
    space: &SearchSpace,
    costs: &[[u64; 3]],
    figures: impl Fn(&Architecture) -> Result<[u64; 3]>,
    output: Output,
) -> Result<()> {
    let most = [NetworkCosts::PARAMS, NetworkCosts::MADDS, NetworkCosts::MEMORY].map(|name| space.limits().get(name));
    let keeps =
        |figures: [u64; 3]| figures.iter().zip(most).all(|(figure, most)| most.is_none_or(|most| *figure <= most));
    let kept = costs.iter().filter(|figures| keeps(**figures)).count();
    let (least, greatest) = statistics::share_interval(kept, costs.len());
    let cheapest = space.cheapest().expect("a space under limits knows its cheapest");
    let [params, madds, memory] = figures(&cheapest)?;
    output.json(&serde_json::json!({
        "limits": space.limits(), "kept": kept, "drawn": costs.len(), "share_interval": [least, greatest],
        "cheapest": cheapest, "params": params, "madds": madds, "memory": memory,
    }));
    output.answer(format!(
        "\nUnder {}: {kept} of the {} networks, so {:.1} to {:.1} % of the space (95 % interval).\nThe cheapest network found has \
         {params} parameters, {madds} multiply-adds and {memory} bytes of training memory:\n{cheapest}",
        space.limits(),
        costs.len(),
        100.0 * least,
        100.0 * greatest,
    ));
    Ok(())
}

/// The decisions with options that no architecture has, and these.
fn dead(space: &SearchSpace) -> Vec<(String, Vec<String>)> {
    let all = space.slots().iter().zip(space.dead_options()).filter(|(_, dead)| !dead.is_empty());
    all.map(|(slot, dead)| (slot.path.clone(), dead.into_iter().map(|option| slot.options[option].clone()).collect()))
        .collect()
}

/// Costs that are looked at to find an extreme: some hundred milliseconds.
const DESCENDED: usize = 150;

/// The least `cost` found from `start` by changes of one decision, each taken when it costs less.
fn descend(space: &SearchSpace, start: &Architecture, cost: &dyn Fn(&Architecture) -> Result<u64>) -> Result<u64> {
    let (mut at, mut least, mut looked) = (start.clone(), cost(start)?, 0);
    'change: loop {
        for neighbour in space.neighbours(&at) {
            looked += 1;
            if looked > DESCENDED {
                break 'change;
            }
            let new = cost(&neighbour)?;
            if new < least {
                (at, least) = (neighbour, new);
                continue 'change;
            }
        }
        break;
    }
    Ok(least)
}

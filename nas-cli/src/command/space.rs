//! `nas space`: search spaces, built in or from a file.

use std::sync::Arc;

use nas_core::space::Limits;
use nas_core::{Architecture, Purpose, SearchSpace, Seed};
use nas_nn::costs::NetworkCosts;
use nas_nn::evaluator::{TrainingCost, training_cost};
use nas_nn::family::{self, Family};

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
    for family in family::families() {
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

/// Size, decisions, what the networks cost, and how many keep to limits.
fn check(space: &SearchSpace, family: &Arc<dyn Family>, limits: Limits, output: Output) -> Result<()> {
    let limited = if limits.is_empty() { None } else { Some(kept(space, family, limits)?) };
    let family = &**family;
    let mut rng = Seed::new(0).stream(Purpose::Propose, 0);
    let (task, batch) = (family.usual_task(), family.search_recipe().batch);
    let costs = (0..COSTED).map(|_| training_cost(family, &space.sample(&mut rng), &task, batch));
    let costs: Vec<TrainingCost> = costs.collect::<std::result::Result<_, _>>()?;
    let default = training_cost(family, &family.default_architecture(), &task, batch)?;
    let size = space.cardinality().to_string();

    let figures = |c: &TrainingCost| [c.cost.parameters, c.cost.madds, c.memory];
    let mut rows = Vec::new();
    for (i, name) in ["parameters", "multiply-adds", "training memory, bytes"].into_iter().enumerate() {
        let mut all: Vec<u64> = costs.iter().map(|c| figures(c)[i]).collect();
        all.sort_unstable();
        let quantiles = [0, all.len() / 2, all.len() - 1].map(|i| all[i]);
        output.json(&serde_json::json!({"figure": name, "least": quantiles[0], "median": quantiles[1], "most": quantiles[2], "default": figures(&default)[i]}));
        let cells = quantiles.into_iter().chain([figures(&default)[i]]).map(|n| output::short(n as f64));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    let slots = space.slots();
    let decisions =
        slots.iter().map(|slot| vec![slot.path.clone(), slot.options.len().to_string(), slot.options.join(" ")]);
    output.json(&serde_json::json!({"space": space.name(), "architectures": size, "decisions": slots.len()}));
    output.answer(format!("{}: {size} architectures, {} decisions\n", space.name(), slots.len()));
    output.answer(output::table(&["decision", "options", ""], &[1], decisions.collect()));
    let header = ["", "least", "median", "most", "default"];
    output.answer(format!(
        "\nOf {COSTED} networks drawn evenly, for {task}:\n{}",
        output::table(&header, &[1, 2, 3, 4], rows)
    ));
    if let Some(limited) = limited {
        under(
            &limited,
            &costs,
            |architecture| Ok(figures(&training_cost(family, architecture, &task, batch)?)),
            output,
        )?;
    }
    Ok(())
}

/// How much of the space keeps to limits, of networks drawn evenly, and the cheapest network.
fn under(
    space: &SearchSpace,
    costs: &[TrainingCost],
    figures: impl Fn(&Architecture) -> Result<[u64; 3]>,
    output: Output,
) -> Result<()> {
    let most = [NetworkCosts::PARAMS, NetworkCosts::MADDS, NetworkCosts::MEMORY].map(|name| space.limits().get(name));
    let keeps =
        |figures: [u64; 3]| figures.iter().zip(most).all(|(figure, most)| most.is_none_or(|most| *figure <= most));
    let kept = costs.iter().filter(|c| keeps([c.cost.parameters, c.cost.madds, c.memory])).count();
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

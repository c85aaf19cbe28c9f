//! `nas space`: search spaces, built in or from a file.

use nas_core::{Architecture, Purpose, SearchSpace, Seed};
use nas_nn::evaluator::{LATENCY, TrainingCost, training_cost};
use nas_nn::family::{self, Family};

use crate::calibration;
use crate::cli;
use crate::config;
use crate::error::Result;
use crate::output::{self, Output};

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
            check(&space, &*family, output)
        }
        cli::Space::Sample(args) => {
            let (space, _) = config::space_without_data(&args.space)?;
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

/// Size, decisions and what the networks cost.
fn check(space: &SearchSpace, family: &dyn Family, output: Output) -> Result<()> {
    let mut rng = Seed::new(0).stream(Purpose::Propose, 0);
    let (task, batch) = (family.usual_task(), family.search_recipe().batch);
    let drawn: Vec<Architecture> = (0..COSTED).map(|_| space.sample(&mut rng)).collect();
    let costs = drawn.iter().map(|architecture| training_cost(family, architecture, &task, batch));
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
    output.json(&serde_json::json!({"space": space.name(), "architectures": size, "decisions": slots.len()}));
    output.answer(format!("{}: {size} architectures, {} decisions\n", space.name(), slots.len()));
    output.answer(output::table(&["decision", "options", ""], &[1], decisions.collect()));
    let header = ["", "least", "median", "most", "default"];
    output.answer(format!(
        "\nOf {COSTED} networks drawn evenly, for {task}:\n{}",
        output::table(&header, &[1, 2, 3, 4], rows)
    ));
    Ok(())
}

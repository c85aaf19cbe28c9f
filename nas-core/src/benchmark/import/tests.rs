//! Small files in every layout, files with mistakes, and the shipped table against its source where that is at hand.

use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::Direction::{Maximize, Minimize};

/// A file that is gone with the folder it is in.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[track_caller]
fn check_error(result: Result<Table, BenchmarkError>, message: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

/// A grid in disorder: 2 · 3 · 2 rows of which one is absent.
const GRID: &str = "note,width,op,rate,accuracy,ms
a,32,conv,0.1,80.5,3
b,16,conv,0.1,79,2
c,32,pool,0.1,70,1
d,48,conv,0.1,81.25,4
e,16,pool,0.1,,1
f,48,pool,0.1,70.5,2
g,32,conv,0.2,60,3
h,16,conv,0.2,61,2
i,32,pool,0.2,62,1
j,48,conv,0.2,63,4
k,16,pool,0.2,64,1
";

fn grid() -> CsvImport {
    CsvImport::new("grid", ["width", "op", "rate"]).metric("accuracy", Some(Maximize)).metric("ms", Some(Minimize))
}

#[test]
fn any_csv_with_named_decisions() {
    let (_folder, path) = file("grid.csv", GRID);
    let table = grid().read(&path).unwrap();
    assert_eq!((table.rows(), table.is_exhaustive()), (11, false));
    let slots: Vec<(&str, Vec<&str>)> = table
        .space()
        .slots()
        .iter()
        .map(|s| (s.path.as_str(), s.options.iter().map(String::as_str).collect()))
        .collect();
    let expected = [("width", vec!["16", "32", "48"]), ("op", vec!["conv", "pool"]), ("rate", vec!["0.1", "0.2"])];
    assert_eq!(slots, expected);
    let row = table.row(&[2, 0, 0]).unwrap();
    assert_eq!(table.metric("accuracy").unwrap().get(row), Some(81.25));
    assert_eq!(table.metric("accuracy").unwrap().best(), Some((row, 81.25)));
    // 48, pool, 0.2 is absent; 16, pool, 0.1 is there without an accuracy.
    assert_eq!(table.row(&[2, 1, 1]), None);
    let row = table.row(&[0, 1, 0]).unwrap();
    assert_eq!(table.metric("accuracy").unwrap().get(row), None);
    assert_eq!(table.metric("ms").unwrap().get(row), Some(1.0));
}

#[test]
fn gzipped_files_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grid.csv.gz");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gzip.write_all(GRID.as_bytes()).unwrap();
    gzip.finish().unwrap();
    let (_folder, plain) = file("grid.csv", GRID);
    assert_eq!(grid().read(&path).unwrap().to_bytes(), grid().read(&plain).unwrap().to_bytes());
    std::fs::write(&path, &std::fs::read(&path).unwrap()[..60]).unwrap();
    check_error(grid().read(&path), "reading ");
}

#[test]
fn what_decides_the_kind_of_a_decision() {
    let kinds = |values: &[&str]| {
        let rows: String = values.iter().map(|value| format!("{value},1\n")).collect();
        let (_folder, path) = file("k.csv", &format!("k,x\n{rows}"));
        let table = CsvImport::new("k", ["k"]).metric("x", Some(Maximize)).read(&path).unwrap();
        let slot = &table.space().slots()[0];
        (table.space().decisions()[0].kind.name(), slot.options.join(" "))
    };
    let own = |kind, options: &str| (kind, options.to_owned());
    assert_eq!(kinds(&["9", "3", "6"]), own("integer", "3 6 9"));
    assert_eq!(kinds(&["64", "16", "32"]), own("choice", "k_16 k_32 k_64"));
    assert_eq!(kinds(&["0012", "0000"]), own("choice", "k_0000 k_0012"));
    assert_eq!(kinds(&["0.1", "0.001", "0.01"]), own("float", "0.001 0.01 0.1"));
    assert_eq!(kinds(&["0.3", "0.1", "0.2"]), own("float", "0.1 0.2 0.3"));
    assert_eq!(kinds(&["0.3", "0.1"]), own("float", "0.1 0.3"));
    assert_eq!(kinds(&["0.5", "0.1", "0.2"]), own("choice", "k_0.1 k_0.2 k_0.5"));
    assert_eq!(kinds(&["gcn", "gat"]), own("choice", "gat gcn"));
    assert_eq!(kinds(&["-9223372036854775808", "9223372036854775807"]).0, "choice");
}

#[test]
fn mistakes_have_a_place() {
    let check = |from: &str, to: &str, message: &str| {
        let (_folder, path) = file("grid.csv", &GRID.replacen(from, to, 1));
        check_error(grid().read(&path), message);
    };
    check("81.25", "best", "grid.csv, line 5, column \"accuracy\": \"best\" is no number");
    check("g,32,", "g,,", "grid.csv, line 8, column \"width\": a decision cannot be empty");
    check("g,32,conv,0.2", "g,32,conv,0.1", "line 8, column \"width\": the same architecture stands on line 2");
    check(",accuracy", ",score", "it has no column \"accuracy\"; its columns are note, width, op, rate, score, ms");
    check(",accuracy", ",ms", "are both called \"ms\"");
    check("79,2", "79", "line: 3");
    check("c,32,pool", "c,32,po ol", "po ol");
    let (_folder, path) = file("empty.csv", "a,b\n");
    check_error(CsvImport::new("e", ["a"]).metric("b", Some(Maximize)).read(&path), "it has no row");
    let (_folder, path) = file("grid.csv", GRID);
    check_error(CsvImport::new("g", ["op"]).metric("ms", None).read(&path), "no metric has a direction");
    check_error(import(&[path]), "no published table has these columns");
    check_error(import(&[]), "no file was given");
}

#[test]
fn macro_rows() {
    let header = "arch,test_acc_1,test_acc_2,test_acc_3,mean_acc,std,params,flops\n";
    let rows = "00000000,45.32,45.33,45.44,45.3633,0.0544,387882,7713280\n22212202,93,93.1,93.2,93.1,0.1,3,4\n";
    let (_folder, path) = file("macro.csv", &format!("{header}{rows}"));
    let table = import(&[path]).unwrap();
    assert_eq!((table.rows(), table.is_exhaustive()), (2, false));
    let row = table.row(&[2, 2, 2, 1, 2, 2, 0, 2]).unwrap();
    assert_eq!(table.metric("test_accuracy").unwrap().best(), Some((row, 93.1)));
    assert_eq!(table.label(row), Some("22212202"));
    let (_folder, path) = file("macro.csv", &format!("{header}{}", rows.replace("22212202", "2221220")));
    check_error(import(&[path]), "line 3, column \"arch\": \"2221220\" is not eight digits");
}

#[test]
fn recurrent_cells_by_their_recipes() {
    let header = "recipe_id,status,epochs_run,num_params,best_val_loss,test_loss_at_best_val,best_epoch,final_val_loss,wall_s_per_epoch,recipe\n";
    let rows = "7,OK,50,10,5.25,5.0,43.0,5.3,140,\"{\"\"f\"\":1}\"
8,OK,50,10,5.75,4.5,43.0,5.3,160,\"{\"\"f\"\":1}\"
9,NaN,3,20,,,,,99,\"{\"\"g\"\":1}\"
";
    let (_folder, path) = file("nlp.csv", &format!("{header}{rows}"));
    let table = import(&[path]).unwrap();
    assert_eq!(table.rows(), 2);
    assert_eq!(table.label(0), Some("{\"f\":1}"));
    let get = |name: &str, row| table.metric(name).unwrap().get(row);
    assert_eq!((get("valid_loss", 0), get("test_loss", 0), get("runs", 0)), (Some(5.5), Some(4.75), Some(2.0)));
    assert_eq!((get("valid_loss", 1), get("runs", 1)), (None, Some(0.0)));
    let (_folder, path) = file("nlp.csv", &format!("{header}{}", rows.replace("{\"\"g", "\"\"g")));
    check_error(import(&[path]), "line 4, column \"recipe\": it is no JSON object");
}

/// The CSV files that the shipped table and others are made from, if a folder with them is named.
fn sources(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("NAS_TABLE_SOURCES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED {test}: name the folder of the source CSV files in NAS_TABLE_SOURCES");
    }
    folder
}

#[test]
fn the_shipped_table_is_what_its_source_says() {
    let Some(folder) = sources("the_shipped_table_is_what_its_source_says") else { return };
    let table = import(&[folder.join("nb201.csv.gz")]).unwrap();
    assert!(table.to_bytes() == Table::nas_bench_201().to_bytes());
}

#[test]
fn whole_sources() {
    let Some(folder) = sources("whole_sources") else { return };
    let open = |names: &[&str]| import(&names.iter().map(|name| folder.join(name)).collect::<Vec<_>>()).unwrap();
    let hardware = open(&[
        "nb201.csv.gz",
        "hwnasbench_nb201_c10.csv.gz",
        "hwnasbench_nb201_c100.csv.gz",
        "hwnasbench_nb201_in16.csv.gz",
        "help_latency_nb201.csv.gz",
    ]);
    let row = hardware.row(&[4, 2, 1, 2, 1, 1]).unwrap();
    assert_eq!(hardware.metric("cifar10_edgegpu_latency").unwrap().get(row), Some(5.80742));
    assert_eq!(hardware.metric("imagenet16_120_fpga_energy").unwrap().get(row), Some(4.54384));
    let tpu = hardware.metric("cifar10_edgetpu_latency").unwrap();
    assert_eq!(tpu.values().iter().filter(|x| x.is_nan()).count(), 4_699);

    let layers = open(&["nasbench_macro_c10.csv.gz"]);
    assert!(layers.is_exhaustive());
    let (row, best) = layers.metric("test_accuracy").unwrap().best().unwrap();
    assert_eq!((layers.label(row), best), (Some("22212202"), 93.1267));

    let recurrent = open(&["nasbench_nlp_wikitext2.csv.gz"]);
    assert_eq!(recurrent.rows(), 291);

    let graph = CsvImport::new("nas-bench-graph", ["link", "op1", "op2", "op3", "op4"])
        .metric("test_pct_cora", Some(Maximize))
        .metric("latency_s_cora", Some(Minimize))
        .read(&folder.join("nasbench_graph.csv.gz"))
        .unwrap();
    assert_eq!((graph.rows(), graph.is_exhaustive()), (26_206, false));
    for table in [hardware, layers, recurrent, graph] {
        let back = Table::from_bytes(&table.to_bytes(), "memory").unwrap();
        assert_eq!(back.to_bytes(), table.to_bytes());
    }
}

//! Weight files that are damaged or foreign: a network is read whole or not at all.

use std::hash::Hasher as _;
use std::path::Path;
use std::sync::Arc;

use nas_core::{Seed, Value};
use nas_nn::Network;
use nas_nn::data::{Augment, Dataset, Images};
use nas_nn::family::{CnnCell, Family as _};
use nas_nn::train::{Recipe, TrainOptions};

/// A network of a few thousand numbers, saved as `a`: its files' contents.
fn saved(folder: &Path) -> (Vec<u8>, String) {
    let images = Images {
        channels: 1,
        height: 8,
        width: 8,
        classes: 2,
        class_names: vec!["left".to_owned(), "right".to_owned()],
        pixels: (0..4 * 64).map(|i| (i * 37 % 251) as u8).collect(),
        labels: vec![0, 1, 0, 1],
    };
    let mut architecture = CnnCell.default_architecture().with("width", Value::Integer(1));
    for (decision, operation) in [("cell.op_0_1", "none"), ("cell.op_1_2", "none"), ("cell.op_0_3", "conv1x1")] {
        architecture = architecture.with(decision, Value::Choice(operation.to_owned()));
    }
    let recipe = Recipe { epochs: 1, batch: 4, augment: Augment::default(), ..Recipe::default() };
    let network = Network::train(
        Arc::new(CnnCell),
        &architecture,
        &Dataset::Images(images),
        &recipe,
        Seed::new(1),
        TrainOptions::default(),
        &mut (),
    )
    .unwrap();
    network.save(&folder.join("a")).unwrap();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    (read("a.safetensors"), String::from_utf8(read("a.json")).unwrap())
}

/// Writes both files, the description naming these weights, and loads them.
fn load(folder: &Path, weights: &[u8], json: &str) -> Result<Network, String> {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(weights);
    let about: serde_json::Value = serde_json::from_str(json).unwrap();
    let json = json.replace(about["weights"].as_str().unwrap(), &format!("{:016x}", hasher.finish()));
    load_files(folder, weights, json.as_bytes())
}

/// Loads a model of these two files. They are removed first, since some file systems wait for the disk when a file is
/// written over.
fn load_files(folder: &Path, weights: &[u8], json: &[u8]) -> Result<Network, String> {
    for (name, bytes) in [("b.json", json), ("b.safetensors", weights)] {
        let path = folder.join(name);
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::write(path, bytes).unwrap();
    }
    Network::load(&folder.join("b")).map_err(|error| error.to_string())
}

/// Asserts that what was loaded is a whole network, or that the error names the file.
#[track_caller]
fn check(loaded: Result<Network, String>, what: &str) -> bool {
    match loaded {
        Ok(network) => {
            let whole = network.params().tensors().all(|tensor| {
                tensor.values.len() == tensor.dims.iter().product::<usize>()
                    && tensor.values.iter().all(|x| x.is_finite())
            });
            assert!(whole, "{what}: loaded in part");
            true
        }
        Err(error) => {
            let known = ["b.safetensors is no model", "b.json is no model", "b.safetensors does not fit the network: "];
            assert!(known.iter().any(|start| error.contains(start)), "{what}: {error}");
            false
        }
    }
}

#[test]
fn cut_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, json) = saved(folder.path());
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    // Every length of the header, and with it those of a few tensors.
    let lengths = (0..header + 100).chain((header + 100..weights.len()).step_by(61)).chain([weights.len() - 1]);
    for length in lengths {
        assert!(!check(load(folder.path(), &weights[..length], &json), &format!("cut at {length}")));
    }
    assert!(check(load(folder.path(), &weights, &json), "whole"));
    let longer: Vec<u8> = weights.iter().copied().chain([0; 4]).collect();
    assert!(!check(load(folder.path(), &longer, &json), "longer"));
}

#[test]
fn changed_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, json) = saved(folder.path());
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    for place in (0..header).chain((header..weights.len()).step_by(61)) {
        let mut changed = weights.clone();
        changed[place] ^= if place % 3 == 0 { 0xff } else { 1 << (place % 8) };
        check(load(folder.path(), &changed, &json), &format!("byte {place} changed"));
    }
    // Without a description that fits, no change goes unseen.
    for place in (0..weights.len()).step_by(7) {
        let mut changed = weights.clone();
        changed[place] ^= 1;
        let error = load_files(folder.path(), &changed, json.as_bytes()).err().unwrap_or_default();
        assert!(error.contains("its weights are not those that"), "byte {place}: {error}");
    }
}

#[test]
fn descriptions_changed_at_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, json) = saved(folder.path());
    let load_with = |json: &[u8], what: &str| check(load_files(folder.path(), &weights, json), what);
    assert!(load_with(json.as_bytes(), "unchanged"));
    for place in 0..json.len() {
        assert!(!load_with(&json.as_bytes()[..place], &format!("cut at {place}")));
        let mut changed = json.clone().into_bytes();
        changed[place] = [b'9', b'"', b'-', 0xff][place % 4];
        load_with(&changed, &format!("byte {place} is {}", changed[place]));
    }
}

#[test]
fn foreign_files() {
    let folder = tempfile::tempdir().unwrap();
    let (_, json) = saved(folder.path());
    for (bytes, what) in [(&b""[..], "empty"), (b"PK\x03\x04 an archive", "an archive"), (&[0xff; 64], "all ones")] {
        let error = load(folder.path(), bytes, &json).err().unwrap();
        assert!(error.contains("b.safetensors is no model"), "{what}: {error}");
    }
    // The tensors of another network.
    let other = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &[0; 8]).unwrap();
    let bytes = safetensors::serialize([("fc.weight", other)], None).unwrap();
    let error = load(folder.path(), &bytes, &json).err().unwrap();
    assert!(error.contains("is missing; the file holds 1 tensors, the network"), "{error}");
}

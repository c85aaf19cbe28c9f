//! Tests of calibrations on this machine: that they are made, kept and used; how good they are is measured, not tested, as it depends on
//! what else the machine does.

use super::*;
use crate::family::CnnCell;
use crate::family::families;

/// A calibration of a few networks.
fn small() -> Calibration {
    let measured =
        draw::networks(15).map(|drawn| Measured::of(&*drawn.family, &drawn.architecture, &drawn.task, 1).unwrap());
    let mut calibration = Calibration {
        version: VERSION,
        processor: processor(),
        kernels: kernels(),
        batch: 1,
        laws: laws(&measured.collect::<Vec<_>>()),
        accuracy: Accuracy { networks: 0, median: 0.0, p90: 0.0, worst: 0.0 },
        checksum: String::new(),
    };
    calibration.checksum = calibration.hash();
    calibration
}

#[test]
fn every_family_is_predicted_and_larger_networks_take_longer() {
    let calibration = small();
    for family in families() {
        let (architecture, task) = (family.default_architecture(), family.usual_task());
        let prediction = calibration.predict(&*family, &architecture, &task).unwrap();
        let measured = measure(&*family, &architecture, &task, 1).unwrap();
        let off = prediction.seconds / measured;
        assert!((0.2..5.0).contains(&off), "{}: {} s, measured {measured} s", family.name(), prediction.seconds);
    }
    let latency = |width: &str| {
        let text = CnnCell.default_architecture().to_string().replace("width=16", width);
        let architecture = text.parse().unwrap();
        calibration.predict(&CnnCell, &architecture, &CnnCell.usual_task()).unwrap().seconds
    };
    assert!(latency("width=20") > latency("width=12"), "{} and {}", latency("width=20"), latency("width=12"));
}

#[test]
fn a_kind_that_was_never_measured_is_named() {
    let mut calibration = small();
    let (architecture, task) = (CnnCell.default_architecture(), CnnCell.usual_task());
    let whole = calibration.predict(&CnnCell, &architecture, &task).unwrap();
    calibration.laws.retain(|kind, _| !kind.starts_with("conv2d"));
    let rough = calibration.predict(&CnnCell, &architecture, &task).unwrap();
    assert!(rough.unmeasured.iter().all(|kind| kind.starts_with("conv2d ")), "{:?}", rough.unmeasured);
    assert!(rough.unmeasured.len() > whole.unmeasured.len() && rough.seconds > 0.0);
}

#[test]
fn a_file_is_read_as_it_was_written_and_nothing_is_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/calibration.json");
    let calibration = small();
    calibration.write(&path, false).unwrap();
    assert_eq!(Calibration::read(&path).unwrap(), calibration);
    calibration.check_machine().unwrap();
    assert!(matches!(calibration.write(&path, false), Err(CalibrationError::Io { .. })));
    calibration.write(&path, true).unwrap();
}

#[test]
fn damaged_files_and_other_machines_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.json");
    let mut calibration = small();
    calibration.write(&path, false).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let says = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Calibration::read(&path).unwrap_err().to_string()
    };
    assert!(says(&text.replace("\"batch\": 1", "\"batch\": 2")).contains("checksum"));
    assert!(says(&text.replace("\"version\": 1", "\"version\": 7")).contains("version is 7"));
    assert!(says("{}").contains("no version"));
    assert!(says(&text[..text.len() / 2]).contains("no calibration"));
    assert!(Calibration::read(&folder.path().join("none")).unwrap_err().to_string().contains("reading"));
    calibration.kernels = "abacus".to_owned();
    let elsewhere = calibration.check_machine().unwrap_err().to_string();
    assert!(elsewhere.contains("abacus"), "{elsewhere}");
}

#[test]
fn a_measurement_can_be_stopped() {
    let mut heard = 0;
    let stopped = Calibration::measure(1, &mut |done, of| {
        heard = done;
        assert_eq!(of, FITTED + CHECKED);
        done < 2
    });
    assert!(matches!(stopped, Err(CalibrationError::Interrupted)) && heard == 2);
}

#[test]
fn accuracy_by_hand() {
    let check = |predicted: f64| Check { family: "rnn", predicted, measured: 1.0 };
    let checks: Vec<Check> = [1.1, 0.8, 1.3, 1.0, 0.6].map(check).to_vec();
    let accuracy = Accuracy::of(&checks);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(near(accuracy.median, 0.2) && near(accuracy.p90, 0.4) && near(accuracy.worst, 0.4), "{accuracy:?}");
    assert_eq!(Accuracy::of(&[]).median, 0.0);
}

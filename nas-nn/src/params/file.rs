//! Parameters in a file of safetensors, which every framework reads.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{Layout, Params};
use crate::error::{ModelError, TensorMistake};
use crate::file;
use crate::graph::Graph;

impl Params {
    /// Writes every tensor, running statistics too, to a new file at `path`, in the form of
    /// [safetensors](https://huggingface.co/docs/safetensors). The file appears whole or not at all.
    ///
    /// ```
    /// use nas_nn::{Graph, Params};
    /// use rand_chacha::rand_core::SeedableRng;
    ///
    /// let graph = Graph::new();
    /// let _ = graph.input("x", &[3]).linear(8).batch_norm().relu().linear(2);
    /// let params = Params::init(&graph, &mut nas_nn::Rng::seed_from_u64(1));
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("weights.safetensors");
    /// params.save(&path)?;
    /// assert_eq!(Params::load(&graph, &path)?, params);
    ///
    /// let wider = Graph::new();
    /// let _ = wider.input("x", &[3]).linear(9).batch_norm().relu().linear(2);
    /// let error = Params::load(&wider, &path).unwrap_err().to_string();
    /// assert!(error.ends_with(r#""linear.weight" is [3, 8] in the file and [3, 9] in the network"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When there is a file already, it cannot be written, or a number is not finite and could not be loaded again.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        file::check_new(path)?;
        file::write(path, &self.to_safetensors(path)?)
    }

    /// The parameters of `graph` as [`Params::save`] wrote them: tensors of 32-bit numbers, all finite, by the paths and with
    /// the sizes of this graph, and no others.
    ///
    /// # Errors
    /// The graph's first mistake; a file that cannot be read, is damaged or no safetensors; the first tensor that is missing
    /// or does not fit.
    pub fn load(graph: &Graph, path: &Path) -> Result<Self, ModelError> {
        graph.check()?;
        Self::from_safetensors(graph, &file::read(path)?, path)
    }

    /// The contents of a file, which is to stand at `path`.
    pub(crate) fn to_safetensors(&self, path: &Path) -> Result<Vec<u8>, ModelError> {
        let damaged =
            |e: safetensors::SafeTensorError| ModelError::Damaged { path: path.to_owned(), why: e.to_string() };
        let tensors = self.tensors().map(|tensor| {
            check_finite(path, tensor.path, tensor.values)?;
            let bytes = bytemuck::cast_slice(tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.dims.to_vec(), bytes).map_err(damaged)?;
            Ok((tensor.path, view))
        });
        let tensors: Vec<(&str, TensorView<'_>)> = tensors.collect::<Result<_, ModelError>>()?;
        let about = HashMap::from([("producer".to_owned(), "nas".to_owned())]);
        safetensors::serialize(tensors, Some(about)).map_err(damaged)
    }

    /// The parameters of `graph` in the contents of the file at `path`.
    pub(crate) fn from_safetensors(graph: &Graph, bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| ModelError::Damaged {
            path: path.to_owned(),
            why: format!("{} bytes that are no safetensors: {e}", bytes.len()),
        })?;
        let mut params = Params::zeros(Layout::of(graph));
        let expected = params.tensors().count();
        let mistake = |tensor: &str, mistake: TensorMistake| {
            Err(ModelError::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), mistake })
        };
        for (name, dims, values) in params.tensors_mut() {
            let Ok(tensor) = tensors.tensor(name) else {
                return mistake(name, TensorMistake::Missing { held: tensors.len(), expected });
            };
            if tensor.dtype() != Dtype::F32 {
                return mistake(name, TensorMistake::Numbers { found: tensor.dtype().to_string() });
            }
            if tensor.shape() != dims {
                return mistake(name, TensorMistake::Shape { found: tensor.shape().to_vec(), expected: dims.to_vec() });
            }
            let (numbers, _) = tensor.data().as_chunks::<4>();
            assert_eq!(numbers.len(), values.len(), "sizes that were checked when the file was read");
            values.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
            check_finite(path, name, values)?;
        }
        // In the order of names, so that the error is the same every time.
        let mut names = tensors.names();
        names.sort_unstable();
        match names.into_iter().find(|name| params.get(name).is_none()) {
            Some(name) => mistake(name, TensorMistake::Foreign { held: tensors.len(), expected }),
            None => Ok(params),
        }
    }
}

fn check_finite(path: &Path, tensor: &str, values: &[f32]) -> Result<(), ModelError> {
    let Some(place) = crate::kernel::find_non_finite(values) else { return Ok(()) };
    let mistake = TensorMistake::NotFinite { place, value: values[place] };
    Err(ModelError::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), mistake })
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    /// The name, the form, the sizes and the bytes of a tensor.
    type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

    fn graph() -> Graph {
        let graph = Graph::new();
        let _ = graph.input("x", &[3]).linear(4).batch_norm().linear(2);
        graph
    }

    fn tensors(params: &Params) -> Vec<Stored> {
        let bytes = |values: &[f32]| bytemuck::cast_slice(values).to_vec();
        params.tensors().map(|t| (t.path.to_owned(), Dtype::F32, t.dims.to_vec(), bytes(t.values))).collect()
    }

    /// What loading a file of these tensors says.
    #[track_caller]
    fn says(tensors: &[Stored]) -> String {
        let view = |dtype, dims: &[usize], bytes| TensorView::new(dtype, dims.to_vec(), bytes).unwrap();
        let views = tensors.iter().map(|(name, dtype, dims, bytes)| (name, view(*dtype, dims, bytes)));
        let bytes = safetensors::serialize(views, None).unwrap();
        Params::from_safetensors(&graph(), &bytes, Path::new("w")).unwrap_err().to_string()
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("weights");
        let mut params = Params::init(&graph(), &mut crate::Rng::seed_from_u64(1));
        params.get_mut("batch_norm.running_mean").unwrap().fill(0.25);
        params.save(&path).unwrap();
        assert_eq!(Params::load(&graph(), &path).unwrap(), params);
        // Neither written over nor followed by anything else.
        let error = params.save(&path).unwrap_err();
        assert!(matches!(&error, ModelError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let error = Params::load(&graph(), &folder.path().join("none")).unwrap_err();
        assert!(matches!(&error, ModelError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    }

    #[test]
    fn mistakes_name_the_tensor_and_the_numbers() {
        let whole = tensors(&Params::init(&graph(), &mut crate::Rng::seed_from_u64(1)));
        let changed = |change: &dyn Fn(&mut Vec<Stored>)| {
            let mut tensors = whole.clone();
            change(&mut tensors);
            says(&tensors)
        };
        let at = |tensors: &[Stored], name: &str| tensors.iter().position(|tensor| tensor.0 == name).unwrap();
        let here = "w does not fit the network: ";
        for (found, expected) in [
            (
                changed(&|t| _ = t.remove(at(t, "linear.bias"))),
                r#""linear.bias" is missing; the file holds 7 tensors, the network 8"#,
            ),
            (
                changed(&|t| t.push(("other".to_owned(), Dtype::F32, vec![1], vec![0; 4]))),
                r#""other" is none of its tensors; the file holds 9 tensors, the network 8"#,
            ),
            (
                changed(&|t| t.iter_mut().for_each(|t| t.2.reverse())),
                r#""linear.weight" is [4, 3] in the file and [3, 4] in the network"#,
            ),
            (
                changed(&|t| t.iter_mut().for_each(|t| (t.1, t.2) = (Dtype::BF16, vec![t.3.len() / 2]))),
                r#""linear.weight" holds numbers of BF16; F32 are read"#,
            ),
            (
                changed(&|t| {
                    let i = at(t, "batch_norm.running_var");
                    t[i].3[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
                }),
                r#""batch_norm.running_var" holds NaN at 1; numbers must be finite"#,
            ),
        ] {
            assert_eq!(found, format!("{here}{expected}"));
        }
    }

    #[test]
    fn what_could_not_be_loaded_is_not_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let mut params = Params::init(&graph(), &mut crate::Rng::seed_from_u64(1));
        params.values_mut()[13] = f32::INFINITY;
        let error = params.save(&path).unwrap_err().to_string();
        assert!(error.ends_with(r#"w does not fit the network: "linear.bias" holds inf at 1; numbers must be finite"#));
        assert!(!path.exists());
    }

    #[test]
    fn cut_and_foreign_files() {
        let params = Params::init(&graph(), &mut crate::Rng::seed_from_u64(1));
        let bytes = params.to_safetensors(Path::new("w")).unwrap();
        for length in 0..bytes.len() {
            let error = Params::from_safetensors(&graph(), &bytes[..length], Path::new("w")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("w is no model: {length} bytes that are no safetensors: ")));
        }
        let error = Params::from_safetensors(&graph(), b"PK\x03\x04 is another form", Path::new("w")).unwrap_err();
        assert!(error.to_string().starts_with("w is no model: 20 bytes"), "{error}");
    }

    #[test]
    fn a_graph_with_a_mistake_has_no_parameters() {
        let graph = Graph::new();
        let _ = graph.input("x", &[3]).reshape(&[4]).linear(2);
        assert!(matches!(Params::load(&graph, Path::new("w")).unwrap_err(), ModelError::Graph(_)));
    }
}

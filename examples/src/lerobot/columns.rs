//! Parquet tables with the few kinds of column that a LeRobot dataset has.
//!
//! The columns are written without arrow. Every value is optional in the schema, as arrow writes it, and
//! present in the data.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

/// The rows of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// 64-bit integers.
    Int(Vec<i64>),
    /// 32-bit floats.
    Float(Vec<f32>),
    /// Strings.
    Text(Vec<String>),
    /// Lists of floats, all of one width; the values of one row after another.
    Floats {
        /// Values in one row.
        width: usize,
        /// `rows × width` values.
        values: Vec<f32>,
    },
    /// Lists of one string each.
    Texts(Vec<String>),
    /// Images: the encoded file, and a name for it.
    Images(Vec<(Vec<u8>, String)>),
}

impl Column {
    fn rows(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Text(values) | Self::Texts(values) => values.len(),
            Self::Floats { width, values } => values.len().checked_div(*width).unwrap_or(0),
            Self::Images(images) => images.len(),
        }
    }

    /// The schema's entry: plain, a list of three levels, or a group of bytes and path.
    fn schema(&self, name: &str) -> Result<Type> {
        let plain = |name: &str, physical, logical: Option<LogicalType>| {
            Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
        };
        let text = |name: &str| plain(name, Physical::BYTE_ARRAY, Some(LogicalType::String));
        let list = |element: Type| {
            let repeated = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(repeated)])
                .build()
        };
        Ok(match self {
            Self::Int(_) => plain(name, Physical::INT64, None)?,
            Self::Float(_) => plain(name, Physical::FLOAT, None)?,
            Self::Text(_) => text(name)?,
            Self::Floats { .. } => list(plain("element", Physical::FLOAT, None)?)?,
            Self::Texts(_) => list(text("element")?)?,
            Self::Images(_) => Type::group_type_builder(name)
                .with_repetition(Repetition::OPTIONAL)
                .with_fields(vec![
                    Arc::new(plain("bytes", Physical::BYTE_ARRAY, None)?),
                    Arc::new(text("path")?),
                ])
                .build()?,
        })
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<()> {
        let bytes = |texts: &[String]| -> Vec<ByteArray> {
            texts.iter().map(|text| ByteArray::from(text.as_bytes().to_vec())).collect()
        };
        match self {
            Self::Int(values) => leaf::<Int64Type>(group, values, 1, None),
            Self::Float(values) => leaf::<FloatType>(group, values, 1, None),
            Self::Text(values) => leaf::<ByteArrayType>(group, &bytes(values), 1, None),
            Self::Floats { width, values } => leaf::<FloatType>(group, values, 3, Some(*width)),
            Self::Texts(values) => leaf::<ByteArrayType>(group, &bytes(values), 3, Some(1)),
            Self::Images(images) => {
                let (files, names): (Vec<_>, Vec<_>) =
                    images.iter().map(|(file, name)| (ByteArray::from(file.clone()), name.clone())).unzip();
                leaf::<ByteArrayType>(group, &files, 2, None)?;
                leaf::<ByteArrayType>(group, &bytes(&names), 2, None)
            }
        }
    }
}

/// Writes one leaf: every value is there, `depth` optional or repeated levels deep; `width` values make a
/// row where it is a list.
fn leaf<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    depth: i16,
    width: Option<usize>,
) -> Result<()> {
    let mut column = group.next_column()?.ok_or_else(|| anyhow!("more columns than the schema has"))?;
    let definition = vec![depth; values.len()];
    let repetition: Option<Vec<i16>> =
        width.map(|width| (0..values.len()).map(|i| i16::from(i % width.max(1) != 0)).collect());
    column.typed::<T>().write_batch(values, Some(&definition), repetition.as_deref())?;
    column.close()?;
    Ok(())
}

/// A Parquet file to which row groups are added.
pub struct Table {
    writer: SerializedFileWriter<File>,
    schema: TypePtr,
}

impl Table {
    /// Begins the file: the columns are those of `sample`, in its order. `metadata` goes into the footer.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, sample: &[(String, Column)], metadata: &[(&str, String)]) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let schema = Arc::new(schema(sample)?);
        let notes = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // Values hardly repeat, and a dictionary of images is the images once more.
            .set_dictionary_enabled(false)
            .set_key_value_metadata(Some(notes.collect()))
            .build();
        let writer = SerializedFileWriter::new(file, Arc::clone(&schema), Arc::new(properties))?;
        Ok(Self { writer, schema })
    }

    /// Adds `columns` as one row group.
    ///
    /// # Errors
    /// When they are not those of the file, differ in length, or cannot be written.
    pub fn push(&mut self, columns: &[(String, Column)]) -> Result<()> {
        ensure!(schema(columns)? == *self.schema, "the columns are not those that the file began with");
        let rows = columns.first().map_or(0, |(_, column)| column.rows());
        for (name, column) in columns {
            ensure!(column.rows() == rows, "column {name} has {} rows, expected {rows}", column.rows());
        }
        let mut group = self.writer.next_row_group()?;
        for (_, column) in columns {
            column.write(&mut group)?;
        }
        group.close()?;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// Writes the footer.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<()> {
        self.writer.close()?;
        Ok(())
    }
}

fn schema(columns: &[(String, Column)]) -> Result<Type> {
    let fields =
        columns.iter().map(|(name, column)| Ok(Arc::new(column.schema(name)?))).collect::<Result<_>>()?;
    Ok(Type::group_type_builder("schema").with_fields(fields).build()?)
}

//! A yes/no reading of an interactions column against what the data set holds.

use recmesh_contract::config::Threshold;
use recmesh_crds::Located;

use super::{facts::Facts, scope::Scope};

/// Objects to a threshold that names no column of the data set or reads it the wrong way.
pub(super) fn threshold(scope: &mut Scope<'_>, at: &Located, pointer: &str, threshold: &Threshold, facts: &Facts) {
    let Threshold { column, at_least, is } = threshold;
    if column == "behaviour" {
        if !facts.behaviour {
            let message = format!(
                "the data set's rows have no behaviour: name its column in columns.behaviour; {}",
                facts.columns()
            );
            scope.refuse(at, &format!("{pointer}/column"), message);
        } else if at_least.is_some() {
            scope.refuse(at, &format!("{pointer}/atLeast"), "behaviour is text: use is");
        } else if let (Some(is), Some(known)) = (is, &facts.behaviours)
            && !known.contains(is)
        {
            let message = format!("nobody does {is} in a planted world; behaviours there: {}", known.join(", "));
            scope.refuse(at, &format!("{pointer}/is"), message);
        }
        return;
    }
    if is.is_some() {
        scope.refuse(
            at,
            &format!("{pointer}/is"),
            format!("{column} holds numbers: use atLeast; only behaviour is read by is"),
        );
    }
    if facts.labels.as_ref().is_some_and(|labels| !labels.contains(column)) {
        let message = format!("{column} is no label column of the data set; {}", facts.columns());
        scope.refuse(at, &format!("{pointer}/column"), message);
    }
}

//! Defaults, read from how `Default` is written, as they would stand in a file.

use std::collections::BTreeMap;

use syn::{BinOp, Expr, ImplItem, Lit, Stmt};

/// The type and the fields' values of an `impl Default`.
pub(super) fn of_impl(found: &syn::ItemImpl) -> Option<(String, BTreeMap<String, String>)> {
    let (of, _) = found.trait_.as_ref()?;
    if !of.is_ident("Default") {
        return None;
    }
    let syn::Type::Path(path) = &*found.self_ty else { return None };
    let name = path.path.segments.last()?.ident.to_string();
    let ImplItem::Fn(function) = found.items.first()? else { return None };
    let Stmt::Expr(Expr::Struct(whole), None) = function.block.stmts.last()? else { return None };
    let values = whole.fields.iter().filter_map(|field| {
        let syn::Member::Named(name) = &field.member else { return None };
        Some((name.to_string(), value(&field.expr)?))
    });
    Some((name, values.collect()))
}

/// How a value is written; none for what has no fixed default.
fn value(of: &Expr) -> Option<String> {
    match of {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(format!("{:?}", text.value())),
            Lit::Bool(truth) => Some(truth.value.to_string()),
            Lit::Int(number) => Some(number.base10_digits().to_owned()),
            _ => None,
        },
        // `"text".to_owned()`
        Expr::MethodCall(call) => value(&call.receiver),
        Expr::Call(call) => called(call),
        Expr::Macro(list) if list.mac.path.is_ident("vec") => {
            let parse = syn::punctuated::Punctuated::<Expr, syn::Token![,]>::parse_terminated;
            let items = list.mac.parse_body_with(parse).unwrap();
            let items: Vec<String> = items.iter().filter_map(value).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        _ => None,
    }
}

/// `Size(64 << 10)`, `Period::seconds(30)`, `PathBuf::from(".")`, `Vec::new()`.
fn called(call: &syn::ExprCall) -> Option<String> {
    let Expr::Path(path) = &*call.func else { return None };
    let names: Vec<String> = path.path.segments.iter().map(|part| part.ident.to_string()).collect();
    let argument = call.args.first();
    match names.join("::").as_str() {
        "Size" => Some(format!("\"{}\"", size(number(argument?)?))),
        "Period::seconds" => Some(format!("\"{}s\"", number(argument?)?)),
        "PathBuf::from" => value(argument?),
        "Vec::new" => Some("[]".to_owned()),
        _ => None,
    }
}

fn number(of: &Expr) -> Option<u64> {
    match of {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Binary(shift) if matches!(shift.op, BinOp::Shl(_)) => {
            Some(number(&shift.left)? << number(&shift.right)?)
        }
        _ => None,
    }
}

fn size(bytes: u64) -> String {
    let units = [(30, 'G'), (20, 'M'), (10, 'K')];
    let found = units.iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    found.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

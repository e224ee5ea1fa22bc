//! `carillon token`: a token for a user, signed with the tenant's key.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use carillon_tenant::{KeySets, UserId};
use serde_json::{Map, Value};

use crate::{
    duration, local_secret,
    manifests::{LocalKeys, Manifests, Program, Served, Severity, Sources},
    signer::{Signer, Wish},
    terminal,
};

/// Arguments of `carillon token`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files and folders with the tenant and its Secrets; default: the examples that are built in
    #[arg(long, value_name = "PATH", num_args = 1..)]
    tenants: Vec<PathBuf>,
    /// The tenant's id
    #[arg(long, value_name = "ID")]
    tenant: String,
    /// The user's id: a string in the token, even when it looks like a number
    #[arg(long, value_name = "ID", required_unless_present = "api_key", default_value = "", hide_default_value = true)]
    user: String,
    /// Print the tenant's API key that may publish, in place of a token
    #[arg(long, conflicts_with_all = ["user", "claims"])]
    api_key: bool,
    /// Write the user's id as a JSON number, for issuers that do so
    #[arg(long)]
    user_number: bool,
    /// A further claim, its value as JSON, or else as text: role='"editor"', level=3, role=editor
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// How long the token is valid, as in 90s, 15m, 1h30m or 7d; default: 1h, or less when the tenant allows only less
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// Which of the tenant's keys signs; default: the first that can
    #[arg(long)]
    kid: Option<String>,
    /// The private key in PEM, for a tenant whose Secret holds a public one (RS, PS, ES, EdDSA)
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

/// Prints the token, and nothing else, to standard output.
///
/// # Errors
///
/// Says what stands in the way and what helps.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let sources = Sources::new(&arguments.tenants);
    let local = LocalKeys::of(local_secret::of_this_user());
    let program = Program::compile_with(Manifests::read(&sources.read()), &KeySets::new(), &local);
    let served = find(&program, &arguments.tenant, &sources.describe())?;
    if let Some(why) = local.why_passing().filter(|_| served.generated.as_ref().is_some_and(|credentials| credentials.local)) {
        let secret = carillon_tenant::generated::secret_name(&served.object.name);
        bail!("the tenant's keys are generated, and none can be kept for you here ({why}): put Secret {secret:?} into the folder");
    }
    if arguments.api_key {
        let key = served.publish_key.as_ref().and_then(|key| str::from_utf8(key.expose()).ok());
        terminal::print(&format!("{}\n", key.with_context(|| format!("tenant {:?} has no API key that may publish", arguments.tenant))?));
        return Ok(());
    }
    let token = Signer::of(served)?.sign(&wish(arguments)?)?;
    terminal::print(&format!("{token}\n"));
    Ok(())
}

fn wish(arguments: &Arguments) -> anyhow::Result<Wish> {
    let user = if arguments.user_number {
        let number: i64 = arguments.user.parse().with_context(|| format!("--user-number: {:?} is no whole number", arguments.user))?;
        number.into()
    } else {
        Value::String(arguments.user.clone())
    };
    Ok(Wish {
        user: UserId::from_claim(&user).context("--user")?,
        claims: arguments.claims.iter().cloned().collect::<Map<_, _>>(),
        expires_in: arguments.expires_in,
        kid: arguments.kid.clone(),
        signing_key: arguments.signing_key.clone(),
    })
}

/// The tenant, or an error that says which there are and what is wrong with the files.
fn find<'a>(program: &'a Program, id: &str, from: &str) -> anyhow::Result<&'a Served> {
    if let Some(served) = program.served(id) {
        return Ok(served);
    }
    let errors: Vec<String> =
        program.findings.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| format!("\n  {finding}")).collect();
    let errors = errors.concat();
    if program.keep.iter().any(|broken| broken.as_str() == id) {
        bail!("tenant {id:?} can't be used:{errors}");
    }
    let mut ids: Vec<_> = program.served.iter().map(|served| served.message.tenant_id.as_str()).collect();
    ids.sort_unstable();
    let there = if ids.is_empty() { "there is none".to_owned() } else { format!("there are {}", ids.join(", ")) };
    let hint = if errors.is_empty() { String::new() } else { format!("; some could not be read:{errors}") };
    bail!("no tenant {id:?} in {from}: {there}{hint}");
}

/// `name=value`: JSON, or else text.
fn claim(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
        }
        _ => Err("write NAME=VALUE, as in role=editor".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn reads_claims_as_json_or_text() {
        let table = [
            ("role=\"editor\"", json!("editor")),
            ("role=editor", json!("editor")),
            ("role=3", json!(3)),
            ("role=[1]", json!([1])),
            ("role=", json!("")),
        ];
        for (text, value) in table {
            assert_eq!(claim(text), Ok(("role".to_owned(), value)), "{text}");
        }
        assert!(claim("role").is_err() && claim("=x").is_err());
    }

    #[test]
    fn users_are_strings_unless_numbers_are_asked_for() {
        for (extra, expected) in [(None, json!("7")), (Some("--user-number"), json!(7))] {
            let line = ["token", "--tenant", "acme", "--user", "7"].into_iter().chain(extra);
            assert_eq!(wish(&Line::parse_from(line).arguments).unwrap().user.to_json(), expected);
        }
        let word = Line::parse_from(["token", "--tenant", "acme", "--user", "ada", "--user-number"]).arguments;
        assert!(wish(&word).is_err());
    }

    #[test]
    fn lists_the_tenants_there_are() {
        let program = Program::compile(Manifests::read(&Sources::new(&[]).read()));
        assert!(find(&program, "acme", "").is_ok());
        let error = find(&program, "acne", "the examples").unwrap_err().to_string();
        assert_eq!(error, "no tenant \"acne\" in the examples: there are acme, globex, initech");
    }
}

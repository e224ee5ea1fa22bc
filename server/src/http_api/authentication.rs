//! Who asks, and whether they may: an API key of the tenant, or a token of one of the tenant's own services.
//!
//! Whoever has proven nothing learns nothing of a tenant, not even whether there is one.

use std::sync::Arc;

use carillon_tenant::{Code, Permission, TenantConfig};
use http::{HeaderMap, StatusCode, header};

use crate::{
    core::Core,
    fan_out::{Tenant, unix_time},
    jwt::{UnverifiedToken, is_proven},
    problem::Problem,
};

/// The tenant `id`, to which the bearer of the credentials in `headers` may do what `permission` says; `None` is what everyone may who can
/// ask at all: the holder of any of its API keys, and its services.
pub fn authenticate(core: &Core, headers: &HeaderMap, id: &str, permission: Option<Permission>) -> Result<Arc<Tenant>, Problem> {
    let view = core.config.view();
    if view.settings.is_none() {
        return Err(Problem::unavailable(Code::NotProgrammed));
    }
    let credentials = bearer(headers).ok_or_else(|| {
        let help = "no credentials were sent: put an API key of the tenant, or a token of one of its services, into the header Authorization: Bearer";
        Problem::from_code(StatusCode::UNAUTHORIZED, Code::TokenMissing).with_detail(help)
    })?;
    let tenant = view.tenant(id).cloned();
    drop(view);
    let config = tenant.as_ref().map(|tenant| tenant.config().clone());
    let allowed = prove(tenant.as_deref().zip(config.as_deref()), id, credentials, permission).map_err(|code| {
        tracing::info!(tenant = tenant.as_ref().map(|tenant| tenant.id.as_str()), %code, "request not authenticated");
        if core.config.is_unconfirmed() { Problem::unavailable(Code::NotProgrammed) } else { unauthenticated(code) }
    })?;
    let tenant = tenant.ok_or_else(|| unauthenticated(Code::SignatureInvalid))?;
    if !allowed && permission.is_none() {
        let help = "the token is none of a service: send an API key of the tenant, or a token whose role is service";
        return Err(Problem::new(StatusCode::FORBIDDEN, "usage_not_allowed", help));
    }
    if !allowed {
        tenant.count_refusal(Code::PublishNotAllowed);
        return Err(Problem::from_code(StatusCode::FORBIDDEN, Code::PublishNotAllowed));
    }
    Ok(tenant)
}

/// Whether the proven bearer of `credentials` has `permission`. `tenant` is `None` when there is no such tenant.
fn prove(tenant: Option<(&Tenant, &TenantConfig)>, id: &str, credentials: &str, permission: Option<Permission>) -> Result<bool, Code> {
    if let Some(key) = tenant.and_then(|(_, config)| config.api_key(credentials)) {
        return Ok(permission.is_none_or(|permission| key.permissions.contains(&permission)));
    }
    // Until a signature is verified, nothing that is answered may depend on the tenant.
    let token = match UnverifiedToken::parse(credentials) {
        Ok(token) => token,
        Err(code) if resembles_token(credentials) => return Err(code),
        Err(_) => return Err(Code::SignatureInvalid),
    };
    let (tenant, config) = tenant.ok_or(Code::SignatureInvalid)?;
    let identity =
        tenant.verify(&token, config, unix_time()).map_err(|code| if is_proven(code) { code } else { Code::SignatureInvalid })?;
    // Tenants may share a key.
    match token.id_claim(&config.jwt.tenant_claim) {
        Some(tenant) if tenant == id => Ok(identity.service),
        Some(_) => Err(Code::SignatureInvalid),
        None => Err(Code::ClaimMissing),
    }
}

fn unauthenticated(code: Code) -> Problem {
    let problem = Problem::from_code(StatusCode::UNAUTHORIZED, code);
    match code {
        Code::SignatureInvalid => problem.with_detail(
            "the credentials are neither an API key of this tenant nor a token that one of its keys verifies, or there is no such tenant",
        ),
        _ => problem,
    }
}

/// The credentials of RFC 6750 section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let credentials = credentials.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !credentials.is_empty()).then_some(credentials)
}

/// A JWT's header begins with `{"`, which is `ey` in base64url.
fn resembles_token(credentials: &str) -> bool {
    credentials.starts_with("ey") && credentials.bytes().filter(|byte| *byte == b'.').count() == 2
}

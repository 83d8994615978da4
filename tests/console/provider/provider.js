// An OpenID provider for tests: `node provider.js PORT REDIRECT_URI`. Whoever signs in as `ada.ops.staff` is ada, in the
// groups ops and staff. Any password will do.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "console", client_secret: "a-secret-of-the-console-in-tests", redirect_uris: [redirectUri],
    grant_types: ["authorization_code"], response_types: ["code"],
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["preferred_username", "groups"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["of-a-test"] },
  pkce: { required: () => true },
  async findAccount(_, id) {
    const [name, ...groups] = id.split(".");
    return {
      accountId: id,
      claims: () => ({ sub: id, email: `${name}@shop.example`, email_verified: true, preferred_username: name, groups }),
    };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log(`listening at ${issuer}`));

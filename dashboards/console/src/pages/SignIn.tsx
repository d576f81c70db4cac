import { type FormEvent, useState } from "react";

import { signIn } from "../api";

export function SignIn({ done, message }: { done: () => void; message: string | null }) {
  const [token, setToken] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn(token.trim());
    done();
  };
  return (
    <main className="sign-in">
      <h1>Turnpike</h1>
      {message && (
        <p role="alert" className="trouble">
          {message}
        </p>
      )}
      <form onSubmit={submit}>
        <label htmlFor="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="current-password"
          required
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
        <button type="submit">Sign in</button>
      </form>
      <p className="muted">
        <code>turnpike up</code> prints an address that signs you in; the token is in its state folder.
      </p>
    </main>
  );
}

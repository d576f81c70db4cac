import { createRoot } from "react-dom/client";

import { takeTokenFromAddress } from "./api";
import { App } from "./App";
import "./style.css";

takeTokenFromAddress();
const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);

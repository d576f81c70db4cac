import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page is served by the analytics service from below `/`, its files from below `/assets`.
export default defineConfig({
  plugins: [react()],
  build: { outDir: "dist", assetsDir: "assets", chunkSizeWarningLimit: 1000 },
});
